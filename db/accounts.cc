#include "db/accounts.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "core/concat.h"
#include "db/csv_reader.h"

namespace txn {
namespace {

constexpr int64_t kDemoFirstAccount = 1001;
constexpr int64_t kDemoLastAccount = 1010;
constexpr int64_t kDemoOwner = 1;
constexpr Money kDemoBalance = Money::from_minor(1'000'000'00);

// A bytea as PostgreSQL reads it: \x0123...
std::string to_bytea(const PinHash& hash) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "\\x";
  for (const uint8_t byte : hash) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

QueryParameter to_parameter(const std::optional<PinHash>& hash) {
  return hash ? QueryParameter(to_bytea(*hash)) : std::nullopt;
}

std::unexpected<Error> no_such_account(int64_t account_number) {
  return fail(ErrorKind::kInvalidArgument, concat("there is no account ", account_number));
}

std::optional<int64_t> parse_int64(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// --- Import ----------------------------------------------------------------------------------------------------------

enum Column { kAccountNumber, kOwnerId, kPrivilege, kBalance, kIsActive, kPin, kColumnCount };
constexpr std::array<std::string_view, kColumnCount> kColumnNames = {"account_number", "owner_id",  "privilege",
                                                                     "balance",        "is_active", "pin"};

// For each column its place in a record, -1 when the file does not have it.
using ColumnPlaces = std::array<int, kColumnCount>;

Result<ColumnPlaces> read_header(CsvReader& reader) {
  CsvRecord header;
  const auto found = reader.next(header);
  if (!found) return std::unexpected(found.error());
  if (!*found) return fail(ErrorKind::kInvalidArgument, "line 1: the header is missing");

  ColumnPlaces places;
  places.fill(-1);
  for (size_t place = 0; place < header.fields.size(); ++place) {
    const auto name = std::ranges::find(kColumnNames, header.fields[place]);
    if (name == kColumnNames.end()) {
      // Not quoted: a file without a header has an account's values here, its PIN among them.
      return fail(ErrorKind::kInvalidArgument,
                  concat("line ", header.line, ", column ", place + 1,
                         ": not a column name; the first line is "
                         "account_number,owner_id,privilege,balance,is_active[,pin] in any order"));
    }
    int& column_place = places[static_cast<size_t>(name - kColumnNames.begin())];
    if (column_place >= 0) {
      return fail(ErrorKind::kInvalidArgument, concat("line ", header.line, ": column ", *name, " appears twice"));
    }
    column_place = static_cast<int>(place);
  }
  for (size_t column = 0; column < kPin; ++column) {
    if (places[column] < 0) {
      return fail(ErrorKind::kInvalidArgument,
                  concat("line ", header.line, ": column ", kColumnNames[column], " is missing"));
    }
  }
  return places;
}

std::optional<bool> parse_boolean(std::string_view text) {
  for (const std::string_view word : {"true", "TRUE", "True", "t", "1", "yes"}) {
    if (text == word) return true;
  }
  for (const std::string_view word : {"false", "FALSE", "False", "f", "0", "no"}) {
    if (text == word) return false;
  }
  return std::nullopt;
}

bool is_pin(std::string_view text) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return text.size() >= 4 && text.size() <= 6 && std::ranges::all_of(text, is_digit);
}

// Turns records into lines of COPY's text format and keeps account of what is wrong with them.
class ImportRows {
 public:
  ImportRows(CsvReader& reader, const ColumnPlaces& places, const ImportOptions& options)
      : reader_(reader), places_(places), options_(options) {}

  // For Session::copy_in. Reads to the end of the file even after a finding, to report the others too.
  Result<bool> fill(std::string& chunk) {
    constexpr int kRecordsPerChunk = 2000;
    for (int i = 0; i < kRecordsPerChunk; ++i) {
      const auto found = reader_.next(record_);
      if (!found) return give_up(found.error());
      if (!*found) {
        if (findings_.empty()) return false;
        return fail(ErrorKind::kInvalidArgument, join_findings());
      }
      append(chunk);
      if (findings_.size() >= kImportErrorsMax) return fail(ErrorKind::kInvalidArgument, join_findings());
    }
    if (options_.on_progress) options_.on_progress(reader_.bytes_read());
    return true;
  }

 private:
  // The quotes no longer tell where a record ends, so the rest of the file cannot be read.
  std::unexpected<Error> give_up(const Error& error) {
    findings_.push_back(error.message);
    return fail(ErrorKind::kInvalidArgument, join_findings());
  }

  std::string join_findings() const {
    std::string joined;
    for (const std::string& finding : findings_) joined += (joined.empty() ? "" : "\n") + finding;
    return joined;
  }

  std::string_view field(Column column) const { return record_.fields[static_cast<size_t>(places_[column])]; }

  void report(Column column, std::string_view allowed) {
    const bool may_quote = places_[kPin] < 0;
    findings_.push_back(concat("line ", record_.line, ", column ", kColumnNames[column], ": ",
                               may_quote ? quote(field(column)) : std::string("the value"), " is not ", allowed));
  }

  // `value` fit for one line of a terminal.
  static std::string quote(std::string_view value) {
    constexpr size_t kMaxBytes = 40;
    std::string quoted = "'";
    for (const char c : value.substr(0, kMaxBytes)) {
      const bool is_control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
      quoted += is_control ? '?' : c;
    }
    return quoted + (value.size() > kMaxBytes ? "...'" : "'");
  }

  void append(std::string& chunk) {
    const size_t columns = places_[kPin] < 0 ? size_t{kPin} : size_t{kColumnCount};
    if (record_.fields.size() != columns) {
      findings_.push_back(
          concat("line ", record_.line, ": ", record_.fields.size(), " fields, the header has ", columns));
      return;
    }
    const auto number = parse_int64(field(kAccountNumber));
    if (!number || *number <= 0) report(kAccountNumber, "an integer above zero");
    const auto owner = parse_int64(field(kOwnerId));
    if (!owner) report(kOwnerId, "an integer");
    const auto privilege = parse_privilege(field(kPrivilege));
    if (!privilege) report(kPrivilege, "PREMIUM, GOLD, SILVER or BASIC");
    const auto balance = parse_written_money(field(kBalance));
    if (!balance) {
      report(kBalance, concat("an amount from 0.00 to 9999999999999.99, like 250.00: it ", balance.error()));
    }
    const auto is_active = parse_boolean(field(kIsActive));
    if (!is_active) report(kIsActive, "true or false");
    const std::string_view pin = places_[kPin] < 0 ? std::string_view() : field(kPin);
    if (!pin.empty() && !is_pin(pin)) report(kPin, "4 to 6 digits, or empty");
    if (!pin.empty() && !options_.hash_pin && findings_.empty()) {
      findings_.push_back(concat("line ", record_.line, ", column pin: ", options_.hash_pin_missing));
    }
    if (!findings_.empty()) return;

    chunk += concat(record_.line, '\t', *number, '\t', *owner, '\t', to_string(*privilege), '\t', to_string(*balance),
                    '\t', *is_active ? 't' : 'f', '\t');
    // In COPY a backslash is written twice.
    chunk += pin.empty() ? "\\N" : concat('\\', to_bytea(options_.hash_pin(*number, pin)));
    chunk += '\n';
  }

  CsvReader& reader_;
  const ColumnPlaces& places_;
  const ImportOptions& options_;
  CsvRecord record_;
  std::vector<std::string> findings_;
};

// Account numbers that stand twice in the file, or in the books already.
Result<void> check_conflicts(Session& session) {
  const std::string limit = std::to_string(kImportErrorsMax);
  const auto conflicts = session.exec(
      "SELECT line, account_number, first_line, is_known FROM ("
      "  SELECT i.line, i.account_number, min(i.line) OVER (PARTITION BY i.account_number) AS first_line,"
      "         a.account_number IS NOT NULL AS is_known"
      "  FROM account_import i LEFT JOIN accounts a USING (account_number)) x "
      "WHERE is_known OR line <> first_line ORDER BY line LIMIT $1",
      {limit});
  if (!conflicts) return std::unexpected(conflicts.error());
  std::string findings;
  for (int row = 0; row < conflicts->size(); ++row) {
    if (!findings.empty()) findings += '\n';
    findings += concat("line ", conflicts->text(row, 0), ", column account_number: account ", conflicts->text(row, 1));
    findings += conflicts->boolean(row, 3) ? std::string(" exists already")
                                           : concat(" stands in line ", conflicts->text(row, 2), " already");
  }
  if (auto sound = conflicts->check(); !sound) return sound;
  if (!findings.empty()) return fail(ErrorKind::kInvalidArgument, findings);
  return {};
}

// What a hash's hexadecimal digits say; nothing when they are no hash.
std::optional<PinHash> parse_pin_hash(std::string_view hex) {
  PinHash hash;
  if (hex.size() != 2 * hash.size()) return std::nullopt;
  for (size_t i = 0; i < hash.size(); ++i) {
    const char* const digits = hex.data() + 2 * i;
    if (std::from_chars(digits, digits + 2, hash[i], 16).ptr != digits + 2) return std::nullopt;
  }
  return hash;
}

}  // namespace

Result<int64_t> seed_demo_accounts(Session& session) {
  const auto created = session.exec(
      "INSERT INTO accounts (account_number, owner_id, privilege, balance, opening_balance, is_active) "
      "SELECT n, $3::bigint, $4, $5::numeric, $5::numeric, true FROM generate_series($1::bigint, $2::bigint) n "
      "ON CONFLICT (account_number) DO NOTHING",
      {std::to_string(kDemoFirstAccount), std::to_string(kDemoLastAccount), std::to_string(kDemoOwner),
       std::string(to_string(Privilege::kGold)), to_string(kDemoBalance)});
  if (!created) return std::unexpected(created.error());
  return created->affected();
}

Result<void> create_account(Session& session, const NewAccount& account) {
  const auto created = session.exec(
      "INSERT INTO accounts (account_number, owner_id, privilege, balance, opening_balance, is_active, pin_hash) "
      "VALUES ($1, $2, $3, $4::numeric, $4::numeric, $5, $6) ON CONFLICT (account_number) DO NOTHING",
      {std::to_string(account.account_number), std::to_string(account.owner_id),
       std::string(to_string(account.privilege)), to_string(account.balance), account.is_active ? "t" : "f",
       to_parameter(account.pin_hash)});
  if (!created) return std::unexpected(created.error());
  if (created->affected() == 0) {
    return fail(ErrorKind::kInvalidArgument, concat("account ", account.account_number, " exists already"));
  }
  return {};
}

Result<std::vector<AccountSummary>> list_accounts(Session& session, const AccountFilter& filter) {
  const auto rows = session.exec(
      "SELECT account_number, owner_id, privilege, is_active, balance FROM accounts "
      "WHERE account_number > $1 AND ($2::bigint IS NULL OR owner_id = $2) ORDER BY account_number LIMIT $3",
      {std::to_string(filter.after), filter.owner_id ? QueryParameter(std::to_string(*filter.owner_id)) : std::nullopt,
       std::to_string(filter.limit)});
  if (!rows) return std::unexpected(rows.error());
  std::vector<AccountSummary> accounts;
  for (int row = 0; row < rows->size(); ++row) {
    const auto privilege = parse_privilege(rows->text(row, 2));
    accounts.push_back({.account_number = rows->integer(row, 0),
                        .owner_id = rows->integer(row, 1),
                        .privilege = privilege.value_or(Privilege::kBasic),
                        .is_active = rows->boolean(row, 3),
                        .balance = rows->money(row, 4)});
    const auto readable = rows->check();
    if (!readable || !privilege) {
      return fail(ErrorKind::kDatabase, concat("account ", accounts.back().account_number, ": ",
                                               readable ? "privilege cannot be read" : readable.error().message));
    }
  }
  return accounts;
}

Result<AccountDetails> find_account(Session& session, int64_t account_number) {
  const auto rows = session.exec(
      "SELECT owner_id, privilege, is_active, balance, log_seq, encode(pin_hash, 'hex') AS pin_hash, "
      "       usage_day - date '1970-01-01' AS usage_day, usage_amount, usage_count, opening_balance, "
      "       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), "
      "       CASE WHEN pin_locked_until <= now() THEN 0 ELSE pin_failures END AS pin_failures, "
      "       CASE WHEN pin_locked_until > now() THEN "
      "         to_char(pin_locked_until AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') ELSE '' END "
      "FROM accounts WHERE account_number = $1",
      {std::to_string(account_number)});
  if (!rows) return std::unexpected(rows.error());
  if (rows->size() == 0) return no_such_account(account_number);

  const auto unreadable = [&](std::string_view why) {
    return fail(ErrorKind::kDatabase, concat("account ", account_number, ": ", why));
  };
  // Of a count that was read as 64 bits.
  const auto narrow = [&](int column) {
    return static_cast<int32_t>(std::clamp<int64_t>(rows->integer(0, column), INT32_MIN, INT32_MAX));
  };
  AccountDetails details;
  AccountState& state = details.state;
  state.account_number = account_number;
  state.owner_id = rows->integer(0, 0);
  const auto privilege = parse_privilege(rows->text(0, 1));
  if (!privilege) return unreadable("privilege cannot be read");
  state.privilege = *privilege;
  state.is_active = rows->boolean(0, 2);
  state.balance = rows->money(0, 3);
  state.log_seq = rows->integer(0, 4);
  if (!rows->is_null(0, 5)) {
    state.pin_hash = parse_pin_hash(rows->text(0, 5));
    if (!state.pin_hash) return unreadable("pin_hash cannot be read");
  }
  state.usage_day = narrow(6);
  state.usage_amount = rows->money(0, 7);
  state.usage_count = narrow(8);
  details.opening_balance = rows->money(0, 9);
  details.created_at = rows->text(0, 10);
  state.pin_failures = narrow(11);
  if (state.pin_failures < 0 || state.pin_failures > kPinFailuresMax) return unreadable("pin_failures cannot be read");
  details.pin_locked_until = rows->text(0, 12);
  if (const auto sound = rows->check(); !sound) return unreadable(sound.error().message);
  return details;
}

Result<void> change_account(Session& session, int64_t account_number, const AccountChanges& changes) {
  const QueryParameter is_active = changes.is_active ? QueryParameter(*changes.is_active ? "t" : "f") : std::nullopt;
  const QueryParameter privilege = changes.privilege ? QueryParameter(to_string(*changes.privilege)) : std::nullopt;
  const QueryParameter owner_id = changes.owner_id ? QueryParameter(std::to_string(*changes.owner_id)) : std::nullopt;
  const auto changed = session.exec(
      "UPDATE accounts SET is_active = coalesce($2::boolean, is_active), privilege = coalesce($3::text, privilege), "
      "owner_id = coalesce($4::bigint, owner_id), pin_hash = CASE WHEN $5::boolean THEN $6::bytea ELSE pin_hash END, "
      "pin_failures = CASE WHEN $5::boolean OR $7::boolean THEN 0 ELSE pin_failures END, "
      "pin_locked_until = CASE WHEN $5::boolean OR $7::boolean THEN NULL ELSE pin_locked_until END "
      "WHERE account_number = $1",
      {std::to_string(account_number), is_active, privilege, owner_id, changes.pin_hash ? "t" : "f",
       changes.pin_hash ? to_parameter(*changes.pin_hash) : std::nullopt, changes.unlock_pin ? "t" : "f"});
  if (!changed) return std::unexpected(changed.error());
  if (changed->affected() == 0) return no_such_account(account_number);
  return {};
}

Result<int64_t> import_accounts(Session& session, std::istream& csv, const ImportOptions& options) {
  CsvReader reader(csv);
  const auto places = read_header(reader);
  if (!places) return std::unexpected(places.error());

  int64_t imported = 0;
  const auto done = session.transaction([&]() -> Result<void> {
    auto created = session.run_script(
        "CREATE TEMPORARY TABLE account_import (line bigint, account_number bigint, owner_id bigint, privilege text, "
        "balance numeric(15, 2), is_active boolean, pin_hash bytea) ON COMMIT DROP");
    if (!created) return created;

    ImportRows rows(reader, *places, options);
    const auto copied = session.copy_in(
        "COPY account_import (line, account_number, owner_id, privilege, balance, is_active, pin_hash) FROM STDIN",
        [&rows](std::string& chunk) { return rows.fill(chunk); });
    if (!copied) return std::unexpected(copied.error());
    if (auto checked = check_conflicts(session); !checked) return checked;

    const auto inserted = session.exec(
        "INSERT INTO accounts (account_number, owner_id, privilege, balance, opening_balance, is_active, pin_hash) "
        "SELECT account_number, owner_id, privilege, balance, balance, is_active, pin_hash "
        "FROM account_import ORDER BY account_number");
    if (!inserted) return std::unexpected(inserted.error());
    imported = inserted->affected();
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return imported;
}

}  // namespace txn
