// Starts a service as the quick start does (migrate, seed-demo, token) and runs the deployment guide's curl lines on
// it.

#include <gtest/gtest.h>

#include "tests/integration/bank.h"

namespace txn::test {
namespace {

constexpr int kSkipped = 77;

TEST(SeedCurl, LinesOfTheDeploymentGuide) {
  Bank bank("curl");
  ASSERT_TRUE(run_service({"seed-demo"}, bank.settings()).ok());
  const RunResult token = run_service({"token", "--sub", "1", "--role", "CUSTOMER"}, bank.settings());
  ASSERT_TRUE(token.ok()) << token;

  SpawnOptions script;
  script.argv = {"/bin/sh", TXN_SOURCE_DIR "/tests/integration/seed_curl_test.sh",
                 "http://127.0.0.1:" + std::to_string(bank.service().port()),
                 token.out.substr(0, token.out.find('\n'))};
  script.env = {"PATH=/usr/local/bin:/usr/bin:/bin"};
  const RunResult result = run_program(script, Milliseconds(60'000));
  if (result.status.code == kSkipped) GTEST_SKIP() << "curl is not installed";
  EXPECT_TRUE(result.ok()) << result;
}

}  // namespace
}  // namespace txn::test
