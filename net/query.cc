#include "net/query.h"

namespace txn {
namespace {

// Value of a hexadecimal digit, or -1.
int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  if (c >= 'A' && c <= 'F') {
    return c - 'A' + 10;
  }
  return -1;
}

}  // namespace

QueryReader::Status QueryReader::next() {
  if (status_ != Status::kParameter) {
    return status_;
  }
  name_ = value_ = {};
  while (!rest_.empty()) {
    const size_t ampersand = rest_.find('&');
    const std::string_view parameter = rest_.substr(0, ampersand);
    rest_ = ampersand == std::string_view::npos ? std::string_view{} : rest_.substr(ampersand + 1);
    if (parameter.empty()) {
      continue;
    }
    const size_t equals = parameter.find('=');
    const std::string_view value = equals == std::string_view::npos ? std::string_view{} : parameter.substr(equals + 1);
    used_ = 0;
    if (decode(parameter.substr(0, equals), name_)) {
      decode(value, value_);
    }
    return status_;
  }
  return status_ = Status::kEnd;
}

// False after setting an error.
bool QueryReader::decode(std::string_view text, std::string_view& out) {
  char* const begin = buffer_.data() + used_;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+') {
      c = ' ';
    } else if (c == '%') {
      const int high = text.size() - i > 2 ? hex_digit(text[i + 1]) : -1;
      const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
      if (low < 0) {
        status_ = Status::kMalformed;
        return false;
      }
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (used_ == buffer_.size()) {
      status_ = Status::kTooLong;
      return false;
    }
    buffer_[used_++] = c;
  }
  out = {begin, static_cast<size_t>(buffer_.data() + used_ - begin)};
  return true;
}

}  // namespace txn
