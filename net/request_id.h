// X-Request-ID: the caller's when it is fit to be repeated in headers and logs, else a new UUID.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "net/http_request.h"

namespace txn {

inline constexpr size_t kMaxRequestIdSize = 128;

// A value with its bytes inside: may be kept, copied and handed to other threads, no allocation.
class RequestId {
 public:
  RequestId() = default;

  // True when `text` is 1 to kMaxRequestIdSize visible ASCII characters.
  static bool is_valid(std::string_view text);

  // REQUIRES: is_valid(text).
  explicit RequestId(std::string_view text);

  // Valid as long as this object.
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, kMaxRequestIdSize> text_;
  uint8_t size_ = 0;
};

// Random UUIDs (version 4, RFC 9562 section 5.4), one generator a worker. The random bytes come from BoringSSL a block
// at a time, because a call costs more than the 16 bytes one id needs. Not for secrets: used bytes stay in memory.
class RequestIdGenerator {
 public:
  // Fills `size` bytes at `out`; cannot fail.
  using FillRandom = void (*)(uint8_t* out, size_t size);

  RequestIdGenerator();                                    // RAND_bytes
  explicit RequestIdGenerator(FillRandom fill);            // for tests
  RequestIdGenerator(const RequestIdGenerator&) = delete;  // two copies would give the same ids
  RequestIdGenerator& operator=(const RequestIdGenerator&) = delete;

  // A new UUID: 36 characters, lower case.
  RequestId generate();

  // The request's X-Request-ID when there is exactly one and it is valid, else generate().
  RequestId choose(const HttpRequest& request);

 private:
  static constexpr size_t kUuidBytes = 16;
  static constexpr size_t kBlockBytes = 128 * kUuidBytes;

  FillRandom fill_;
  size_t used_ = kBlockBytes;
  std::array<uint8_t, kBlockBytes> block_;
};

}  // namespace txn
