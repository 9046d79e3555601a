// The table of routes against the matrix of who may use them.
#include "app/routes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/integration/access_matrix.h"

namespace txn {
namespace {

using test::AccessRow;
using test::kAccessMatrix;
using test::Whose;

bool is_about(const AccessRow& row, const Route& route) {
  return row.method == to_string(route.method) && row.pattern == route.pattern;
}

bool has_row(const Route& route, Whose whose) {
  return std::ranges::any_of(kAccessMatrix,
                             [&](const AccessRow& row) { return is_about(row, route) && row.whose == whose; });
}

TEST(Routes, EachStandsInTheAccessMatrix) {
  for (const Route& route : routes()) {
    const std::string name = std::string(to_string(route.method)) + " " + std::string(route.pattern);
    const bool is_about_nobody = has_row(route, Whose::kNobodys);
    EXPECT_TRUE(is_about_nobody || (has_row(route, Whose::kOwn) && has_row(route, Whose::kOthers)))
        << name << ": say in tests/integration/access_matrix.h who may call it, for own accounts and for others'";
    for (const AccessRow& row : kAccessMatrix) {
      if (!is_about(row, route)) continue;
      EXPECT_EQ(row.is_public, route.access == Access::kPublic) << name;
      EXPECT_TRUE(route.access != Access::kMoneyMover || row.admin == 403) << name;
      EXPECT_TRUE(route.access != Access::kStaff || row.customer == 403) << name;
    }
  }
}

TEST(Routes, TheAccessMatrixHasNoOthers) {
  for (const AccessRow& row : kAccessMatrix) {
    EXPECT_TRUE(std::ranges::any_of(routes(), [&](const Route& route) { return is_about(row, route); }))
        << row.method << " " << row.pattern;
  }
}

}  // namespace
}  // namespace txn
