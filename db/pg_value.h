// Parameters for prepared statements in PostgreSQL's binary format, built in one reusable byte buffer.
//
// Formats: integers big-endian; numeric as base-10000 digit groups; arrays with one dimension (source: PostgreSQL 15,
// src/backend/utils/adt/numeric.c numeric_recv, arrayfuncs.c array_recv, timestamp.c, date.c).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "core/money.h"

namespace txn {

// Object ids of the types we send (pg_type.dat).
enum class PgType : uint32_t {
  kBool = 16,
  kBytea = 17,
  kInt8 = 20,
  kInt4 = 23,
  kText = 25,
  kDate = 1082,
  kTimestamptz = 1184,
  kNumeric = 1700,
};

// PostgreSQL counts from 2000-01-01.
inline constexpr int64_t kPgEpochUs = 946'684'800'000'000;
inline constexpr int32_t kPgEpochDay = 10'957;

// Most parameters of any of our statements.
inline constexpr size_t kPgParametersMax = 16;

// The parameters of one execution. Values are appended in the order of $1, $2 ...; pointers into the buffer are made by
// finish(). clear() keeps the memory.
class PgParameters {
 public:
  void clear();

  void add_null();
  void add_int8(int64_t value);
  void add_int4(int32_t value);
  void add_bool(bool value);
  void add_numeric(Money value);
  void add_timestamptz(int64_t unix_us);
  void add_text(std::string_view value);  // no NUL inside: PostgreSQL refuses it
  void add_bytes(std::span<const uint8_t> value);

  // Arrays: begin, then one element_* call per element of the announced type, then end_array().
  void begin_array(PgType element, size_t count);
  void element_null();
  void element_int8(int64_t value);
  void element_int4(int32_t value);
  void element_date(int32_t unix_day);
  void element_timestamptz(int64_t unix_us);
  void element_numeric(Money value);
  void element_text(std::string_view value);
  void end_array();

  // Valid until the next call that adds or clears.
  void finish();
  int count() const { return static_cast<int>(count_); }
  const char* const* values() const { return values_; }
  const int* lengths() const { return lengths_; }
  const int* formats() const { return formats_; }

 private:
  void begin_value();
  void end_value();
  void put16(uint16_t value);
  void put32(uint32_t value);
  void put64(uint64_t value);
  void put_bytes(std::string_view value);
  void put_numeric(Money value);

  std::vector<char> bytes_;
  size_t count_ = 0;
  size_t starts_[kPgParametersMax] = {};
  int lengths_[kPgParametersMax] = {};
  int formats_[kPgParametersMax] = {};
  bool nulls_[kPgParametersMax] = {};
  const char* values_[kPgParametersMax] = {};
  size_t elements_left_ = 0;
};

// Decoders of binary results. What stands in a database is the outside world's: nothing comes of bytes that are not one
// value of the type, or not one that we can hold.
std::optional<int64_t> decode_int8(std::string_view bytes);
std::optional<int32_t> decode_int4(std::string_view bytes);
std::optional<bool> decode_bool(std::string_view bytes);
std::optional<int32_t> decode_date(std::string_view bytes);         // days since 1970-01-01; no infinities
std::optional<int64_t> decode_timestamptz(std::string_view bytes);  // microseconds since 1970-01-01 UTC; no infinities
// NUMERIC with at most two decimals and a magnitude within int64 minor units: no NaN, no infinities, no finer
// fractions.
std::optional<Money> decode_numeric(std::string_view bytes);

}  // namespace txn
