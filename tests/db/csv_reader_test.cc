#include "db/csv_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace txn {
namespace {

using Fields = std::vector<std::string>;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<Fields> read_all(const std::string& text) {
  std::istringstream in(text);
  CsvReader reader(in);
  std::vector<Fields> records;
  CsvRecord record;
  while (true) {
    const auto found = reader.next(record);
    EXPECT_TRUE(found.has_value()) << found.error().message;
    if (!found || !*found) return records;
    records.push_back(record.fields);
  }
}

std::string error_of(const std::string& text) {
  std::istringstream in(text);
  CsvReader reader(in);
  CsvRecord record;
  while (true) {
    const auto found = reader.next(record);
    if (!found) return found.error().message;
    if (!*found) return "";
  }
}

TEST(CsvReader, ReadsPlainAndQuotedFields) {
  EXPECT_THAT(read_all("a,b,c\r\n1,,3\n"), ElementsAre(Fields{"a", "b", "c"}, Fields{"1", "", "3"}));
  EXPECT_THAT(read_all("\"a,b\",\"say \"\"hi\"\"\",\"two\r\nlines\"\n"),
              ElementsAre(Fields{"a,b", "say \"hi\"", "two\r\nlines"}));
  EXPECT_THAT(read_all("\"\",\"\"\n"), ElementsAre(Fields{"", ""}));
  EXPECT_THAT(read_all("a,b"), ElementsAre(Fields{"a", "b"}));
  EXPECT_THAT(read_all("a,"), ElementsAre(Fields{"a", ""}));
  EXPECT_THAT(read_all("a,\"b\"\r"), ElementsAre(Fields{"a", "b"}));
}

TEST(CsvReader, SkipsByteOrderMarkAndBlankLines) {
  EXPECT_THAT(read_all("\xef\xbb\xbf"
                       "a\n\n\r\nb\n\n"),
              ElementsAre(Fields{"a"}, Fields{"b"}));
  EXPECT_THAT(read_all(""), IsEmpty());
  EXPECT_THAT(read_all("\r\n\n"), IsEmpty());
}

TEST(CsvReader, CountsLinesThroughQuotedBreaks) {
  std::istringstream in("a\n\"b\nb\nb\"\n\nc\n");
  CsvReader reader(in);
  CsvRecord record;
  std::vector<int64_t> lines;
  while (*reader.next(record)) lines.push_back(record.line);
  EXPECT_THAT(lines, ElementsAre(1, 2, 6));
  EXPECT_EQ(reader.bytes_read(), 13);
}

TEST(CsvReader, NamesTheLineOfWhatIsMalformed) {
  EXPECT_EQ(error_of("a\nb\"c\n"), "line 2: a quote inside a field that does not begin with one");
  EXPECT_EQ(error_of("a\n\"b\"c\n"), "line 2: text behind the closing quote of a field");
  EXPECT_EQ(error_of("a\n\"b\n\n\n"), "line 2: a quoted field is not closed");
  EXPECT_EQ(error_of("a\n" + std::string(70'000, 'x')), "line 2: a record is longer than 64 KiB");
  EXPECT_EQ(error_of("a\n\"" + std::string(70'000, 'x')), "line 2: a record is longer than 64 KiB");
}

}  // namespace
}  // namespace txn
