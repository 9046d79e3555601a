// Fuzz target: any bytes, cut any way, must give the same requests and errors as in one piece, and nothing may crash.
// The first byte chooses the size of the pieces. libFuzzer supplies main().
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/check.h"
#include "net/http_parser.h"
#include "net/http_response.h"

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

// Everything a connection would see, for pieces of `size` bytes.
std::string parse(std::string_view bytes, size_t size) {
  HttpParser parser;
  std::string out;
  while (!bytes.empty()) {
    // A copy of exactly that size, freed at once when detached: the sanitizer sees every byte read outside.
    const std::string_view piece = bytes.substr(0, size);
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
  if (size < 2) {
    return 0;
  }
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece_size = static_cast<size_t>(data[0]) + 1;
  CHECK(txn::parse(bytes, bytes.size()) == txn::parse(bytes, piece_size), "the cut made a difference");
  return 0;
}
