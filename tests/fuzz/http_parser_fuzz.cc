// Any bytes, cut any way, give the same requests and errors as in one piece.
//
// Input: the size of the pieces less one, how much of the text comes as one piece first (two bytes), then the text.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/check.h"
#include "net/http_parser.h"
#include "net/http_response.h"
#include "tests/fuzz/fuzz_input.h"

namespace txn {
namespace {

void describe(const HttpRequest& request, std::string& out) {
  out += std::string(to_string(request.method)) + " " + std::string(request.path) + "?" + std::string(request.query);
  out += request.keep_alive ? " keep" : " close";
  for (size_t i = 0; i < request.header_count(); ++i) {
    const HeaderField field = request.header(i);
    out += std::string(field.name) + ":" + std::string(field.value) + "\n";
  }
  out += std::string(request.body) + "\n";
}

// Everything a connection would see, for a first piece of `first` bytes and further ones of `size`.
std::string parse(std::string_view bytes, size_t first, size_t size) {
  HttpParser parser;
  std::string out;
  size_t next_size = first == 0 ? size : first;
  while (!bytes.empty()) {
    // A copy of exactly that size, freed at once when detached: the sanitizer sees every byte read outside.
    const std::string_view piece = bytes.substr(0, std::exchange(next_size, size));
    bytes.remove_prefix(piece.size());
    auto chunk = std::make_unique_for_overwrite<char[]>(piece.size());
    piece.copy(chunk.get(), piece.size());
    HttpParser::Status status = parser.feed({chunk.get(), piece.size()});
    while (status == HttpParser::Status::kRequest) {
      if (size % 2 == 0) {
        parser.detach();
        chunk.reset();
      }
      CHECK(parser.request().body.size() <= kMaxBodyBytes, "body over its bound");
      describe(parser.request(), out);
      status = parser.next();
    }
    if (status == HttpParser::Status::kError) {
      return out + "error " + std::to_string(http_status(parser.error())) + parser.error_reason();
    }
    CHECK(parser.unparsed_bytes() == 0, "bytes left over");
  }
  return out;
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  txn::fuzz::FuzzInput input(data, size);
  const size_t piece_size = size_t{input.byte()} + 1;
  const auto first = static_cast<size_t>(input.number(2));
  const std::string_view bytes = input.rest();
  const std::string whole = txn::parse(bytes, bytes.size(), 1);
  CHECK(whole == txn::parse(bytes, first, piece_size), "the cut made a difference");
  CHECK(whole == txn::parse(bytes, 0, piece_size), "the cut made a difference");
  return 0;
}
