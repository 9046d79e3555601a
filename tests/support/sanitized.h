// Whether the tests and the service were built with a sanitizer: their memory, processor time and descriptors are then
// the sanitizer's as well, and say nothing about the service.
#pragma once

namespace txn::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace txn::test
