#include "db/pg_value.h"

#include <cstring>

namespace txn {
namespace {

constexpr uint16_t kNumericPositive = 0x0000;
constexpr uint16_t kNumericNegative = 0x4000;
constexpr int64_t kNumericBase = 10'000;

template <class T>
std::optional<T> load_big_endian(std::string_view bytes) {
  if (bytes.size() != sizeof(T)) return std::nullopt;
  T value = 0;
  for (const char byte : bytes) value = static_cast<T>(value << 8 | static_cast<uint8_t>(byte));
  return value;
}

}  // namespace

void PgParameters::clear() {
  bytes_.clear();
  count_ = 0;
}

void PgParameters::begin_value() {
  CHECK(count_ < kPgParametersMax, "too many parameters");
  starts_[count_] = bytes_.size();
  formats_[count_] = 1;
  nulls_[count_] = false;
}

void PgParameters::end_value() {
  lengths_[count_] = static_cast<int>(bytes_.size() - starts_[count_]);
  ++count_;
}

void PgParameters::put16(uint16_t value) {
  const char text[2] = {static_cast<char>(value >> 8), static_cast<char>(value)};
  bytes_.insert(bytes_.end(), text, text + sizeof text);
}

void PgParameters::put32(uint32_t value) {
  value = __builtin_bswap32(value);
  const size_t at = bytes_.size();
  bytes_.resize(at + sizeof value);
  std::memcpy(bytes_.data() + at, &value, sizeof value);
}

void PgParameters::put64(uint64_t value) {
  value = __builtin_bswap64(value);
  const size_t at = bytes_.size();
  bytes_.resize(at + sizeof value);
  std::memcpy(bytes_.data() + at, &value, sizeof value);
}

void PgParameters::put_bytes(std::string_view value) { bytes_.insert(bytes_.end(), value.begin(), value.end()); }

// Two decimals are half a base-10000 group: the fraction's group is cents * 100, the groups above are the integer part.
void PgParameters::put_numeric(Money value) {
  const int64_t minor = value.minor();
  const uint64_t magnitude = minor < 0 ? 0 - static_cast<uint64_t>(minor) : static_cast<uint64_t>(minor);
  uint64_t integer = magnitude / 100;
  const auto fraction = static_cast<uint16_t>(magnitude % 100 * 100);
  uint16_t groups[6];  // least significant first; groups[0] is the fraction
  size_t count = 0;
  groups[count++] = fraction;
  while (integer != 0) {
    groups[count++] = static_cast<uint16_t>(integer % kNumericBase);
    integer /= kNumericBase;
  }
  const auto weight = static_cast<int16_t>(static_cast<int>(count) - 2);  // of the first group; -1: only a fraction
  size_t lowest = 0;
  while (lowest < count && groups[lowest] == 0) ++lowest;  // trailing zero groups are not stored
  const size_t digits = count - lowest;
  put16(static_cast<uint16_t>(digits));
  put16(digits == 0 ? 0 : static_cast<uint16_t>(weight));
  put16(minor < 0 ? kNumericNegative : kNumericPositive);
  put16(2);  // display scale
  for (size_t i = count; i > lowest; --i) put16(groups[i - 1]);
}

void PgParameters::add_null() {
  begin_value();
  nulls_[count_] = true;
  end_value();
}
void PgParameters::add_int8(int64_t value) {
  begin_value();
  put64(static_cast<uint64_t>(value));
  end_value();
}
void PgParameters::add_int4(int32_t value) {
  begin_value();
  put32(static_cast<uint32_t>(value));
  end_value();
}
void PgParameters::add_bool(bool value) {
  begin_value();
  bytes_.push_back(value ? 1 : 0);
  end_value();
}
void PgParameters::add_numeric(Money value) {
  begin_value();
  put_numeric(value);
  end_value();
}
void PgParameters::add_timestamptz(int64_t unix_us) { add_int8(unix_us - kPgEpochUs); }
void PgParameters::add_text(std::string_view value) {
  begin_value();
  put_bytes(value);
  end_value();
}
void PgParameters::add_bytes(std::span<const uint8_t> value) {
  begin_value();
  bytes_.insert(bytes_.end(), value.begin(), value.end());
  end_value();
}

void PgParameters::begin_array(PgType element, size_t count) {
  begin_value();
  elements_left_ = count;
  put32(count == 0 ? 0 : 1);  // dimensions
  put32(1);                   // may hold NULLs
  put32(static_cast<uint32_t>(element));
  if (count == 0) return;
  put32(static_cast<uint32_t>(count));
  put32(1);  // lower bound
}

void PgParameters::element_null() {
  --elements_left_;
  put32(static_cast<uint32_t>(-1));
}
void PgParameters::element_int8(int64_t value) {
  --elements_left_;
  put32(8);
  put64(static_cast<uint64_t>(value));
}
void PgParameters::element_int4(int32_t value) {
  --elements_left_;
  put32(4);
  put32(static_cast<uint32_t>(value));
}
void PgParameters::element_date(int32_t unix_day) { element_int4(unix_day - kPgEpochDay); }
void PgParameters::element_timestamptz(int64_t unix_us) { element_int8(unix_us - kPgEpochUs); }
void PgParameters::element_numeric(Money value) {
  --elements_left_;
  const size_t length_at = bytes_.size();
  put32(0);
  put_numeric(value);
  const uint32_t length = __builtin_bswap32(static_cast<uint32_t>(bytes_.size() - length_at - 4));
  std::memcpy(bytes_.data() + length_at, &length, sizeof length);
}
void PgParameters::element_text(std::string_view value) {
  --elements_left_;
  put32(static_cast<uint32_t>(value.size()));
  put_bytes(value);
}
void PgParameters::end_array() {
  CHECK(elements_left_ == 0, "an array has as many elements as announced");
  end_value();
}

void PgParameters::finish() {
  // libpq takes a null pointer for NULL, so an empty value must point somewhere.
  static constexpr char kEmpty[1] = {};
  for (size_t i = 0; i < count_; ++i) {
    values_[i] = nulls_[i] ? nullptr : lengths_[i] == 0 ? kEmpty : bytes_.data() + starts_[i];
  }
}

std::optional<int64_t> decode_int8(std::string_view bytes) {
  const auto value = load_big_endian<uint64_t>(bytes);
  if (!value) return std::nullopt;
  return static_cast<int64_t>(*value);
}

std::optional<int32_t> decode_int4(std::string_view bytes) {
  const auto value = load_big_endian<uint32_t>(bytes);
  if (!value) return std::nullopt;
  return static_cast<int32_t>(*value);
}

std::optional<bool> decode_bool(std::string_view bytes) {
  const auto value = load_big_endian<uint8_t>(bytes);
  if (!value) return std::nullopt;
  return *value != 0;
}

// The infinities are the ends of the type's range (date.h, timestamp.h). The last of what remains is beyond our range.
std::optional<int32_t> decode_date(std::string_view bytes) {
  const auto pg_day = decode_int4(bytes);
  int32_t day = 0;
  if (!pg_day || *pg_day == INT32_MIN || __builtin_add_overflow(*pg_day, kPgEpochDay, &day)) return std::nullopt;
  return day;
}

std::optional<int64_t> decode_timestamptz(std::string_view bytes) {
  const auto pg_us = decode_int8(bytes);
  int64_t us = 0;
  if (!pg_us || *pg_us == INT64_MIN || __builtin_add_overflow(*pg_us, kPgEpochUs, &us)) return std::nullopt;
  return us;
}

std::optional<Money> decode_numeric(std::string_view bytes) {
  constexpr size_t kHeaderBytes = 8;
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  const auto groups = *load_big_endian<uint16_t>(bytes.substr(0, 2));
  const auto weight = static_cast<int16_t>(*load_big_endian<uint16_t>(bytes.substr(2, 2)));
  const auto sign = *load_big_endian<uint16_t>(bytes.substr(4, 2));
  if (sign != kNumericPositive && sign != kNumericNegative) return std::nullopt;  // NaN or an infinity
  if (bytes.size() != kHeaderBytes + size_t{groups} * 2) return std::nullopt;
  if (weight > 4) return std::nullopt;  // 10^20 minor units and more do not fit 64 bits
  int64_t minor = 0;
  for (int i = 0; i < groups; ++i) {
    const auto group = int64_t{*load_big_endian<uint16_t>(bytes.substr(kHeaderBytes + static_cast<size_t>(i) * 2, 2))};
    const int power = weight - i;  // of 10000
    if (group >= kNumericBase) return std::nullopt;
    int64_t scaled = 0;
    if (power >= 0) {
      scaled = group * 100;
      for (int p = 0; p < power; ++p)
        if (__builtin_mul_overflow(scaled, kNumericBase, &scaled)) return std::nullopt;
    } else {
      if (power != -1 || group % 100 != 0) return std::nullopt;  // more than two decimals
      scaled = group / 100;
    }
    if (__builtin_add_overflow(minor, scaled, &minor)) return std::nullopt;
  }
  return Money::from_minor(sign == kNumericNegative ? -minor : minor);
}

}  // namespace txn
