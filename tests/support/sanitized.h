// Whether the tests and the service were built with a sanitizer: their memory, processor time and descriptors are then
// the sanitizer's as well.
#pragma once

namespace txn::test {

// By `make asan`, hence by UndefinedBehaviorSanitizer too. That asks a pipe whether an object can be read, and takes it
// for a finding when there is no descriptor for one.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddressSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kAddressSanitized = __has_feature(address_sanitizer);
#else
inline constexpr bool kAddressSanitized = false;
#endif

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kThreadSanitized = __has_feature(thread_sanitizer);
#else
inline constexpr bool kThreadSanitized = false;
#endif

inline constexpr bool kSanitized = kAddressSanitized || kThreadSanitized;

}  // namespace txn::test
