#include "tests/support/json.h"

#include <cstdio>
#include <stdexcept>

namespace txn::test {

namespace {

[[noreturn]] void complain(const std::string& what, const Json& where) {
  throw std::runtime_error(what + " in " + where.dump());
}

}  // namespace

Json Json::parse(std::string_view text) {
  auto document = std::make_shared<Document>();
  simdjson::dom::element root;
  const auto error = document->parser.parse(text.data(), text.size()).get(root);
  if (error != simdjson::SUCCESS)
    throw std::runtime_error(std::string("not JSON (") + simdjson::error_message(error) + "): " + std::string(text));
  return Json(std::move(document), root);
}

bool Json::valid(std::string_view text) {
  simdjson::dom::parser parser;
  return parser.parse(text.data(), text.size()).error() == simdjson::SUCCESS;
}

Json Json::operator[](std::string_view key) const {
  simdjson::dom::element member;
  if (!is_object() || element_.at_key(key).get(member) != simdjson::SUCCESS)
    complain("no member \"" + std::string(key) + "\"", *this);
  return Json(document_, member);
}

Json Json::operator[](size_t index) const {
  simdjson::dom::element item;
  if (!is_array() || element_.at(index).get(item) != simdjson::SUCCESS)
    complain("no element " + std::to_string(index), *this);
  return Json(document_, item);
}

bool Json::has(std::string_view key) const { return is_object() && element_.at_key(key).error() == simdjson::SUCCESS; }

size_t Json::size() const {
  if (is_object()) return keys().size();
  return items().size();
}

std::vector<Json> Json::items() const {
  simdjson::dom::array array;
  if (element_.get(array) != simdjson::SUCCESS) complain("no array", *this);
  std::vector<Json> items;
  for (const auto item : array) items.push_back(Json(document_, item));
  return items;
}

std::vector<std::string> Json::keys() const {
  simdjson::dom::object object;
  if (element_.get(object) != simdjson::SUCCESS) complain("no object", *this);
  std::vector<std::string> keys;
  for (const auto member : object) keys.emplace_back(member.key);
  return keys;
}

std::string Json::text() const {
  std::string_view view;
  if (element_.get(view) != simdjson::SUCCESS) complain("no string", *this);
  return std::string(view);
}

int64_t Json::integer() const {
  int64_t value = 0;
  if (element_.get(value) != simdjson::SUCCESS) complain("no integer", *this);
  return value;
}

bool Json::boolean() const {
  bool value = false;
  if (element_.get(value) != simdjson::SUCCESS) complain("no boolean", *this);
  return value;
}

std::string Json::dump() const { return simdjson::minify(element_); }

std::string Json::scalar() const { return is_string() ? text() : dump(); }

std::ostream& operator<<(std::ostream& out, const Json& json) { return out << json.dump(); }

std::vector<std::string> raw_tokens(std::string_view json, std::string_view key) {
  const auto end_of_string = [&](size_t begin) {  // `begin` at the opening quote; one past the closing one
    size_t at = begin + 1;
    while (at < json.size() && json[at] != '"') at += json[at] == '\\' ? 2 : 1;
    return std::min(at + 1, json.size());
  };
  const auto skip_blanks = [&](size_t at) {
    while (at < json.size() && std::string_view(" \t\r\n").find(json[at]) != std::string_view::npos) ++at;
    return at;
  };
  std::vector<std::string> tokens;
  for (size_t at = 0; at < json.size();) {
    if (json[at] != '"') {
      ++at;
      continue;
    }
    const size_t end = end_of_string(at);
    const std::string_view name = json.substr(at + 1, end - at - 2);
    at = end;
    const size_t colon = skip_blanks(end);
    if (colon >= json.size() || json[colon] != ':' || name != key) continue;
    const size_t value = skip_blanks(colon + 1);
    if (value >= json.size()) break;
    size_t value_end = json[value] == '"' ? end_of_string(value) : json.find_first_of(",}] \t\r\n", value);
    value_end = std::min(value_end, json.size());
    tokens.emplace_back(json.substr(value, value_end - value));
    at = value_end;
  }
  return tokens;
}

std::string raw_token(std::string_view json, std::string_view key) {
  const auto tokens = raw_tokens(json, key);
  if (tokens.empty()) return "(missing)";
  return tokens.size() == 1 ? tokens.front() : "(ambiguous)";
}

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace txn::test
