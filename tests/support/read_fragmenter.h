// Cuts bytes the way a network may: whole, byte by byte, in two at every place, in small pieces of one size. A parser
// must not be able to tell.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace txn::test {

using Pieces = std::vector<std::string_view>;  // views into the bytes that were cut

inline Pieces cut_into(std::string_view bytes, size_t piece_size) {
  Pieces pieces;
  for (size_t at = 0; at < bytes.size(); at += piece_size) {
    pieces.push_back(bytes.substr(at, piece_size));
  }
  return pieces;
}

// Calls visit(const Pieces&, const std::string& how) for every way of cutting. Long texts are cut in two at every
// position near both ends and at a sample between, and never into single bytes more often than once.
template <class Visit>
void for_each_fragmentation(std::string_view bytes, Visit visit) {
  constexpr size_t kEveryPositionUpTo = 2048;
  visit(Pieces{bytes}, std::string("whole"));
  for (size_t piece_size : {1, 2, 3, 5, 8, 16, 31, 1000, 4096}) {
    if (piece_size == 1 || piece_size < bytes.size()) {
      visit(cut_into(bytes, piece_size), "in pieces of " + std::to_string(piece_size));
    }
  }
  for (size_t at = 1; at < bytes.size(); ++at) {
    const size_t to_end = std::min(at, bytes.size() - at);
    if (bytes.size() <= kEveryPositionUpTo || to_end < 100 || at % 997 == 0) {
      visit(Pieces{bytes.substr(0, at), bytes.substr(at)}, "in two at " + std::to_string(at));
    }
  }
}

}  // namespace txn::test
