#include "db/redis_connector.h"

#include <hiredis.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <memory>
#include <string_view>
#include <utility>

#include "core/concat.h"

namespace txn {
namespace {

struct FreeContext {
  void operator()(redisContext* context) const { redisFree(context); }
};
using Context = std::unique_ptr<redisContext, FreeContext>;

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

timeval timeval_of(int64_t ms) { return {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}; }

// What a server says goes to the log: one line of it.
std::string one_line(std::string_view text) {
  constexpr size_t kMax = 200;
  std::string line(text.substr(0, kMax));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  }
  return line;
}

Result<Reply> run(redisContext* context, const char* step, const std::vector<std::string>& words) {
  std::vector<const char*> values;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    values.push_back(word.data());
    sizes.push_back(word.size());
  }
  Reply reply(
      static_cast<redisReply*>(redisCommandArgv(context, static_cast<int>(words.size()), values.data(), sizes.data())));
  if (!reply) return fail(ErrorKind::kUnavailable, concat(step, ": ", one_line(context->errstr)));
  if (reply->type == REDIS_REPLY_ERROR)
    return fail(ErrorKind::kUnavailable, concat(step, ": ", one_line({reply->str, static_cast<size_t>(reply->len)})));
  return reply;
}

}  // namespace

Result<OpenedRedis> open_redis(const RedisOptions& options) {
  const RedisAddress& address = options.address;
  const Context context(
      redisConnectWithTimeout(address.host.c_str(), address.port, timeval_of(options.connect_timeout_ms)));
  if (!context) return fail(ErrorKind::kSystem, "out of memory");
  if (context->err != 0) return fail(ErrorKind::kUnavailable, concat("connecting: ", one_line(context->errstr)));
  redisSetTimeout(context.get(), timeval_of(options.command_timeout_ms));

  if (!address.password.empty()) {
    std::vector<std::string> words{"AUTH"};
    if (!address.user.empty()) words.push_back(address.user);
    words.push_back(address.password);
    if (auto reply = run(context.get(), "AUTH", words); !reply) return std::unexpected(reply.error());
  }
  if (address.database != 0) {
    auto reply = run(context.get(), "SELECT", {"SELECT", std::to_string(address.database)});
    if (!reply) return std::unexpected(reply.error());
  }
  auto loaded = run(context.get(), "SCRIPT LOAD", {"SCRIPT", "LOAD", options.script});
  if (!loaded) return std::unexpected(loaded.error());
  if ((*loaded)->type != REDIS_REPLY_STRING) return fail(ErrorKind::kUnavailable, "SCRIPT LOAD: not a Redis server");
  OpenedRedis opened{.socket = -1, .script_sha = {(*loaded)->str, static_cast<size_t>((*loaded)->len)}};

  std::vector<std::string> trial{"EVALSHA", opened.script_sha, "1"};
  trial.insert(trial.end(), options.trial.begin(), options.trial.end());
  if (auto reply = run(context.get(), "EVALSHA", trial); !reply) return std::unexpected(reply.error());

  // The ring waits by itself; the time-outs of blocking calls are not its.
  redisSetTimeout(context.get(), timeval{});
  opened.socket = context->fd;
  context->fd = -1;  // redisFree() leaves it alone then
  return opened;
}

}  // namespace txn
