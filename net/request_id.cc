#include "net/request_id.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

#include "core/check.h"

namespace txn {
namespace {

void fill_from_boringssl(uint8_t* out, size_t size) { CHECK(RAND_bytes(out, size) == 1, "no random bytes"); }

}  // namespace

bool RequestId::is_valid(std::string_view text) {
  return !text.empty() && text.size() <= kMaxRequestIdSize && std::all_of(text.begin(), text.end(), is_visible);
}

RequestId::RequestId(std::string_view text) : size_(static_cast<uint8_t>(text.size())) {
  CHECK(is_valid(text), "not a request id");
  std::memcpy(text_.data(), text.data(), text.size());
}

RequestIdGenerator::RequestIdGenerator() : RequestIdGenerator(fill_from_boringssl) {}

RequestIdGenerator::RequestIdGenerator(FillRandom fill) : fill_(fill) {}

RequestId RequestIdGenerator::generate() {
  if (used_ == kBlockBytes) {
    fill_(block_.data(), block_.size());
    used_ = 0;
  }
  uint8_t* bytes = block_.data() + used_;
  used_ += kUuidBytes;
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);  // variant of RFC 9562

  constexpr char kHex[] = "0123456789abcdef";
  std::array<char, 36> text;
  size_t at = 0;
  for (size_t i = 0; i < kUuidBytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) {
      text[at++] = '-';
    }
    text[at++] = kHex[bytes[i] >> 4];
    text[at++] = kHex[bytes[i] & 0x0f];
  }
  return RequestId(std::string_view(text.data(), text.size()));
}

RequestId RequestIdGenerator::choose(const HttpRequest& request) {
  const auto sent = request.find(KnownHeader::kXRequestId);
  if (sent && RequestId::is_valid(*sent) && request.count("X-Request-ID") == 1) {
    return RequestId(*sent);
  }
  return generate();
}

}  // namespace txn
