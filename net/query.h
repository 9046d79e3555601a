// The parameters of a query string, one after the other, decoded as browsers encode forms (WHATWG URL section 5.1):
// "&" separates, the first "=" divides, "+" is a space, "%XX" a byte.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace txn {

// Single-threaded; no allocation.
//
//   QueryReader query(request.query);
//   while (query.next() == QueryReader::Status::kParameter) { use(query.name(), query.value()); }
//   if (query.status() != QueryReader::Status::kEnd) { ... refuse ... }
class QueryReader {
 public:
  // Decoded name and value together; longer ones are an error, never cut.
  static constexpr size_t kMaxParameterBytes = 1024;

  enum class Status {
    kParameter,  // name() and value() are set
    kEnd,
    kMalformed,  // "%" without two hexadecimal digits
    kTooLong,    // name() is set when it was the value that is too long
  };

  // `query` without the "?"; must outlive the reader.
  explicit QueryReader(std::string_view query) : rest_(query) {}

  // Moves to the next parameter, skipping empty ones ("a=1&&b=2"). Everything but kParameter is final.
  Status next();

  Status status() const { return status_; }

  // Valid until the next next(). May hold any byte, NUL included; "flag" and "flag=" both have the value "".
  std::string_view name() const { return name_; }
  std::string_view value() const { return value_; }

 private:
  bool decode(std::string_view text, std::string_view& out);

  std::string_view rest_;
  Status status_ = Status::kParameter;
  std::string_view name_;
  std::string_view value_;
  size_t used_ = 0;  // of buffer_, by the present parameter
  std::array<char, kMaxParameterBytes> buffer_;
};

}  // namespace txn
