// Configuration: files of NAME=value lines, and the values of all settings. Nothing crashes, what was read can be
// written and read again, values come out in the shape they have to have, and secrets are in no message.
//
// *_FILE settings are left out: they would open files.
#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/check.h"
#include "core/concat.h"
#include "core/config.h"

namespace txn {
namespace {

constexpr std::string_view kSecretMark = "s3cr3t";

// The mark says nothing once it stands in a setting that may be shown as well.
void check_secrecy(const SettingValues& values, const std::vector<Error>& errors) {
  for (const auto& [name, value] : values) {
    const auto info = std::ranges::find(setting_infos(), std::string_view(name), &SettingInfo::name);
    const bool is_secret = info != setting_infos().end() && info->is_secret;
    if (!is_secret && (name + value).find(kSecretMark) != std::string::npos) return;
  }
  for (const Error& error : errors)
    CHECK(error.message.find(kSecretMark) == std::string::npos, "a secret stands in an error");
}

void check_values(std::string_view text) {
  if (const auto policy = parse_rate_limit(text)) {
    CHECK(policy->count > 0 && policy->window.count() > 0, "a limit limits");
    for (const char* unit : {"second", "minute", "hour", "day"}) {
      const auto again = parse_rate_limit(concat(policy->count, "/", unit));
      CHECK(again.has_value(), "each unit is one");
      if (again->window == policy->window) CHECK(*again == *policy, "a limit is what it says");
    }
  }
  if (const auto network = parse_cidr(text)) {
    char address[INET6_ADDRSTRLEN];
    CHECK(inet_ntop(network->is_ipv6 ? AF_INET6 : AF_INET, network->address.data(), address, sizeof address) != nullptr,
          "an address");
    const auto again = parse_cidr(concat(std::string_view(address), "/", network->prefix_length));
    CHECK(again.has_value(), "a network can be written and read");
    CHECK(*again == *network, "and is the same");
    CHECK(text.find('\0') == std::string_view::npos, "nothing hides behind a NUL");
  }
  if (const auto redis = parse_redis_url(text)) {
    CHECK(!redis->host.empty(), "a host");
    CHECK(redis->database >= 0, "a database");
  }
  if (const auto duration = parse_duration(text)) {
    CHECK(duration->count() >= 0, "time does not run backwards");
    CHECK(parse_duration(concat(duration->count(), "ms")) == duration, "a duration is what it says");
  }
  if (const auto bytes = parse_byte_count(text)) {
    CHECK(*bytes >= 0, "a size is not negative");
    CHECK(parse_byte_count(concat(*bytes)) == bytes, "a size is what it says");
  }
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_values(text);
  auto values = parse_config_text(text, "fuzz.env");
  if (!values) {
    CHECK(!values.error().empty(), "a refusal says why");
    return 0;
  }
  std::string written;
  for (const auto& [name, value] : *values) written += concat(name, " = \"", value, "\"\n");
  const auto again = parse_config_text(written, "again.env");
  CHECK(again.has_value(), "what was read can be written and read");
  CHECK(*again == *values, "and is the same");

  std::erase_if(*values, [](const auto& entry) { return entry.first.ends_with("_FILE"); });
  for (const auto& [name, value] : *values) check_values(value);
  const auto settings = load_settings({.flags = {}, .environment = {}, .file = *values});
  if (!settings) {
    CHECK(!settings.error().empty(), "a refusal says why");
    check_secrecy(*values, settings.error());
    return 0;
  }
  CHECK(settings->workers >= 1 && settings->max_connections >= 1, "somebody works");
  CHECK(settings->database_pool_min <= settings->database_pool_max, "from the least to the most");
  const ConnectionShare share =
      connection_share(settings->workers, settings->ledger_lanes, settings->database_pool_min);
  CHECK(settings->workers * share.total() <= settings->database_pool_max, "no more connections than may be");
  CHECK(settings->max_connections >= settings->workers, "a client for each worker");
  check_secrecy(*values, validate_for_serve(*settings));
  CHECK(!database_conninfo(*settings).empty(), "a database");
  return 0;
}
