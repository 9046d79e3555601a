// JSON for assertions: a parsed document that is easy to walk, and the raw text of its numbers.
//
// A look-up that fails throws std::runtime_error naming the path, which GoogleTest reports as the test's failure.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace txn::test {

class Json {
 public:
  // Throws when `text` is not JSON. Keeps its own copy.
  static Json parse(std::string_view text);
  static bool valid(std::string_view text);

  Json operator[](std::string_view key) const;  // a member that must exist
  Json operator[](size_t index) const;
  bool has(std::string_view key) const;
  size_t size() const;  // elements of an array, members of an object
  std::vector<Json> items() const;
  std::vector<std::string> keys() const;

  bool is_null() const { return element_.is_null(); }
  bool is_string() const { return element_.is_string(); }
  bool is_integer() const { return element_.is_int64() || element_.is_uint64(); }
  bool is_number() const { return element_.is_number(); }
  bool is_bool() const { return element_.is_bool(); }
  bool is_array() const { return element_.is_array(); }
  bool is_object() const { return element_.is_object(); }

  std::string text() const;  // of a string
  int64_t integer() const;
  bool boolean() const;
  std::string dump() const;  // minified
  // The scalar as text, whatever its type: "12", "abc", "true", "null".
  std::string scalar() const;

 private:
  struct Document {
    simdjson::dom::parser parser;
  };
  Json(std::shared_ptr<const Document> document, simdjson::dom::element element)
      : document_(std::move(document)), element_(element) {}

  std::shared_ptr<const Document> document_;  // owns what element_ points into
  simdjson::dom::element element_;
};

std::ostream& operator<<(std::ostream& out, const Json& json);

// The tokens that stand behind `"key":` in `json`, in order, at any depth, as they were written: 100.00 is not 100.
// For numbers, true, false, null and strings (with their quotes).
std::vector<std::string> raw_tokens(std::string_view json, std::string_view key);
// The only one of them; "(missing)" or "(ambiguous)" otherwise.
std::string raw_token(std::string_view json, std::string_view key);

// `text` as a JSON string with its quotes.
std::string json_quoted(std::string_view text);

}  // namespace txn::test
