// The transaction ids that a lane may give out.
//
// They come in blocks from a sequence, and a sequence is durable only once a later commit has been: when its server
// crashes before, the same block is handed out again, to somebody else. So a block counts only from the commit of the
// transaction that has reserved it, and one is reserved while another is left.
#pragma once

#include <cstdint>
#include <utility>

#include "core/check.h"
#include "db/lane_store.h"

namespace txn {

class IdBlocks {
 public:
  // All that there is from now on: one block, durable. 0: none.
  void start(int64_t block) {
    *this = {};
    if (block != 0) first_ = Range::of(block);
  }

  int64_t left() const { return first_.left() + second_.left(); }
  // Whether to reserve a block along with `count` ids, so that a whole block is left behind them.
  bool wants_block(int64_t count) const { return left() - count < kIdsPerBlock; }

  // REQUIRES: left() > 0. The id that take() gives out next.
  int64_t next() const {
    CHECK(left() > 0, "a block of ids is reserved before the last one is used up");
    return first_.left() > 0 ? first_.next : second_.next;
  }
  void take() { ++(first_.left() > 0 ? first_ : second_).next; }

  // A block reserved in the transaction under way.
  void reserve(int64_t block) { reserved_ = block; }
  // That transaction has committed, and its reservation with it. Without this it never was: keep a copy to go back to.
  void commit() {
    const int64_t block = std::exchange(reserved_, 0);
    if (first_.left() == 0) first_ = std::exchange(second_, {});
    if (block == 0) return;
    if (first_.left() == 0) {
      first_ = Range::of(block);
    } else if (second_.left() == 0) {
      second_ = Range::of(block);
    }
    // Otherwise fewer were used than foreseen, and the block is a gap.
  }

 private:
  struct Range {
    int64_t next = 0;
    int64_t end = 0;
    int64_t left() const { return end - next; }
    static Range of(int64_t block) { return {block * kIdsPerBlock, (block + 1) * kIdsPerBlock}; }
  };
  Range first_;
  Range second_;
  int64_t reserved_ = 0;
};

}  // namespace txn
