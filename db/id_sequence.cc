#include "db/id_sequence.h"

#include "core/concat.h"
#include "db/lane_store.h"

namespace txn {
namespace {

struct Position {
  int64_t used_id = 0;  // the newest of the log, 0 when it is empty
  int64_t block = 0;    // the last that was handed out, 0 before the first
  bool is_behind() const { return used_id / kIdsPerBlock > block; }
};

// A statement sees the log as it was when it began, and the sequence as it is: ids in the log have been taken before.
// A row's id is twice that of its transaction, plus one at most.
constexpr const char* kPosition =
    "SELECT coalesce(max(id), 0) / 2, CASE WHEN has_sequence_privilege('transaction_id_blocks', 'USAGE, SELECT') "
    "THEN coalesce(pg_sequence_last_value('transaction_id_blocks'), 0) END FROM transaction_logs";

// Nothing where the sequence must not be looked at.
Result<std::optional<Position>> find_position(Session& session) {
  const auto rows = session.exec(kPosition);
  if (!rows) return std::unexpected(rows.error());
  if (rows->size() != 1 || rows->is_null(0, 1)) return std::nullopt;
  return Position{.used_id = rows->integer(0, 0), .block = rows->integer(0, 1)};
}

}  // namespace

Result<void> check_id_sequence(Session& session) {
  const auto position = find_position(session);
  if (!position) return std::unexpected(position.error());
  if (!*position || !(*position)->is_behind()) return {};
  return fail(ErrorKind::kInvalidArgument, concat("the log has transaction ids up to ", (*position)->used_id,
                                                  ", but transaction_id_blocks has handed out no more than ",
                                                  (*position)->block * kIdsPerBlock + kIdsPerBlock - 1,
                                                  ": run `transactions-service migrate`, which sets it right"));
}

Result<std::optional<IdSequenceRepair>> repair_id_sequence(Session& session) {
  auto position = find_position(session);
  if (!position) return std::unexpected(position.error());
  if (!*position || !(*position)->is_behind()) return std::nullopt;
  std::optional<IdSequenceRepair> repair;
  const auto done = session.transaction([&]() -> Result<void> {
    // Changes nothing, but locks the sequence against nextval(), which no LOCK does; so that it cannot run ahead of us
    // and be set back.
    if (auto locked = session.run_script("ALTER SEQUENCE transaction_id_blocks CACHE 1"); !locked) return locked;
    position = find_position(session);
    if (!position) return std::unexpected(position.error());
    if (!*position || !(*position)->is_behind()) return {};
    const int64_t block = (*position)->used_id / kIdsPerBlock;
    const auto moved = session.exec("SELECT setval('transaction_id_blocks', $1)", {std::to_string(block)});
    if (!moved) return std::unexpected(moved.error());
    repair = IdSequenceRepair{.before = (*position)->block, .after = block};
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return repair;
}

}  // namespace txn
