// Parting a range in two, in place.
#pragma once

#include <algorithm>
#include <functional>
#include <iterator>
#include <ranges>

namespace txn {

// Moves what satisfies the predicate before what does not, both in the order in which they were, and returns the
// latter. For short ranges: the time grows with the square of their length, and nothing is allocated.
// std::stable_partition allocates, in GCC 12's library by a function that C++17 deprecated and Clang therefore refuses.
//
//     const auto closed = partition_in_order(accounts, &Account::is_open);
template <std::ranges::bidirectional_range Range, typename Predicate>
std::ranges::borrowed_subrange_t<Range> partition_in_order(Range&& range, Predicate predicate) {
  auto rest = std::ranges::begin(range);
  const auto end = std::ranges::end(range);
  for (auto element = rest; element != end; ++element) {
    if (!std::invoke(predicate, *element)) continue;
    std::rotate(rest, element, std::next(element));
    ++rest;
  }
  return {rest, end};
}

}  // namespace txn
