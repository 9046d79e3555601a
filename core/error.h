// Errors of the outside world are values: Result<T> carries either a T or an Error that a person can read.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace txn {

enum class ErrorKind {
  kInvalidArgument,  // configuration or input that cannot be right
  kUnavailable,      // a peer is away or refused us; trying again later may help
  kTimeout,          // a deadline passed
  kSystem,           // a system call failed in a way that has no better name
  kDatabase,         // the database answered with an error
};

struct Error {
  ErrorKind kind = ErrorKind::kSystem;
  std::string message;  // for operators; never sent to a client
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorKind kind, std::string message) {
  return std::unexpected(Error{kind, std::move(message)});
}

// strerror(3) for `errno_value` behind "what: ".
std::unexpected<Error> fail_errno(const char* what, int errno_value);

}  // namespace txn
