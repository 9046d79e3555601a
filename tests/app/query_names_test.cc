#include "app/query_names.h"

#include <gtest/gtest.h>

namespace txn {
namespace {

constexpr std::string_view kKnown[] = {"limit", "cursor", "skip", "start_date", "end_date"};

TEST(QueryNames, KnownOnesOnceAreFine) {
  for (const char* query : {"", "&", "limit=1", "limit", "limit=&cursor=a&skip=0&start_date=x&end_date=y", "%6cimit=1"})
    EXPECT_FALSE(find_query_error(query, kKnown).has_value()) << query;
  EXPECT_FALSE(find_query_error("", {}).has_value());
}

TEST(QueryNames, TheNearestIsNamed) {
  const std::pair<std::string, std::string> kRows[] = {
      {"startdate", "start_date"},
      {"start-date", "start_date"},
      {"startDate", "start_date"},
      {"from_date", "end_date"},
      {"limits", "limit"},
      {"lmiit", "limit"},
      {"LIMIT", "limit"},
      {"Curser", "cursor"},
      {"enddate", "end_date"},
      {"skpi", "skip"},
      {"s", "skip"},
  };
  for (const auto& [name, nearest] : kRows) {
    const auto error = find_query_error("limit=1&" + name + "=2", kKnown);
    ASSERT_TRUE(error.has_value()) << name;
    EXPECT_EQ(error->field, name);
    EXPECT_TRUE(error->message.starts_with("is not known; the nearest that is: " + nearest + " (of")) << error->message;
  }
  EXPECT_EQ(find_query_error("a=b", {})->message, "is not known; this path takes no query parameters");
  constexpr std::string_view kOne[] = {"verbose"};
  EXPECT_EQ(find_query_error("=", kOne)->message, "is not known; the nearest that is: verbose");
}

TEST(QueryNames, OnceIsEnough) {
  const auto error = find_query_error("limit=1&skip=0&limit=1", kKnown);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->field, "limit");
  EXPECT_EQ(error->message, "is there twice");
}

TEST(QueryNames, WhatIsNoQueryIsRefusedAndNothingIsQuotedAtLength) {
  EXPECT_EQ(find_query_error("limit=%zz", kKnown)->field, "query");
  EXPECT_EQ(find_query_error("limit=" + std::string(2000, 'x'), kKnown)->field, "limit");
  EXPECT_EQ(find_query_error(std::string(2000, 'x'), kKnown)->field, "query");
  EXPECT_EQ(find_query_error(std::string(900, 'x'), kKnown)->field, std::string(64, 'x'));
}

}  // namespace
}  // namespace txn
