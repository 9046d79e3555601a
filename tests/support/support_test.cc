// The tests' own tools, tested: a tool that is wrong makes a wrong service look right.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>

#include "tests/support/json.h"
#include "tests/support/jwt.h"
#include "tests/support/private_postgres.h"
#include "tests/support/raw_client.h"

namespace txn::test {
namespace {

using ::testing::ElementsAre;

TEST(Sha256, VectorsOfFips180) {
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(HmacSha256, VectorsOfRfc4231) {
  EXPECT_EQ(to_hex(hmac_sha256(std::string(20, '\x0b'), "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(to_hex(hmac_sha256(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Jwt, VectorOfRfc7515AppendixA1) {
  // The key as given there, in base64url: AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAz
  // Zr1Z9CAow
  static constexpr uint8_t kKey[] = {0x03, 0x23, 0x35, 0x4b, 0x2b, 0x0f, 0xa5, 0xbc, 0x83, 0x7e, 0x06, 0x65, 0x77,
                                     0x7b, 0xa6, 0x8f, 0x5a, 0xb3, 0x28, 0xe6, 0xf0, 0x54, 0xc9, 0x28, 0xa9, 0x0f,
                                     0x84, 0xb2, 0xd2, 0x50, 0x2e, 0xbf, 0xd3, 0xfb, 0x5a, 0x92, 0xd2, 0x06, 0x47,
                                     0xef, 0x96, 0x8a, 0xb4, 0xc3, 0x77, 0x62, 0x3d, 0x22, 0x3d, 0x2e, 0x21, 0x72,
                                     0x05, 0x2e, 0x4f, 0x08, 0xc0, 0xcd, 0x9a, 0xf5, 0x67, 0xd0, 0x80, 0xa3};
  const std::string key(std::begin(kKey), std::end(kKey));
  EXPECT_EQ(sign_jwt("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}",
                     "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}", key),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
            ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
            ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

TEST(Json, WalksAndKeepsRawNumbers) {
  const std::string text = R"({"amount": 100.00, "logs": [{"amount":1.50,"note":"\"amount\": 9"}], "ok": true})";
  const Json json = Json::parse(text);
  EXPECT_THAT(raw_tokens(text, "amount"), ElementsAre("100.00", "1.50"));
  EXPECT_EQ(raw_token(text, "ok"), "true");
  EXPECT_EQ(raw_token(text, "absent"), "(missing)");
  EXPECT_EQ(json["logs"][0]["note"].text(), "\"amount\": 9");
  EXPECT_THAT(json.keys(), ElementsAre("amount", "logs", "ok"));
  EXPECT_FALSE(json.has("absent"));
  EXPECT_THROW(json["absent"], std::runtime_error);
  EXPECT_FALSE(Json::valid("{"));
}

// A client and the other end of its connection.
struct Wire {
  RawClient client;
  RawClient peer;
};

Wire socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fatal("socketpair");
  return {RawClient(UniqueFd(ends[0])), RawClient(UniqueFd(ends[1]))};
}

TEST(RawClient, ReadsPipelinedResponsesOneByOne) {
  Wire wire = socket_pair();
  wire.peer.send(
      "HTTP/1.1 100 Continue\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A:  b \r\n\r\nhi"
      "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncut");
  wire.peer.close();
  EXPECT_EQ(wire.client.read_response().status, 100);
  const HttpResponse first = wire.client.read_response();
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.body, "hi");
  EXPECT_EQ(first.header("x-a"), "b");
  EXPECT_EQ(wire.client.read_response().reason, "Not Found");
  EXPECT_EQ(wire.client.read_response(kResponseTimeout, true).status, 200);  // to HEAD: no body follows
  EXPECT_EQ(wire.client.read_response().error, "closed in the body");
}

TEST(RawClient, SaysHowAConnectionEnded) {
  Wire wire = socket_pair();
  EXPECT_TRUE(wire.client.idle_and_open());
  EXPECT_EQ(wire.client.wait_for_ending(Milliseconds(1)), RawClient::Ending::kOpen);
  EXPECT_EQ(wire.client.read_response(Milliseconds(1)).error, "timeout");
  wire.client.half_close();
  EXPECT_EQ(wire.peer.wait_for_ending(kResponseTimeout), RawClient::Ending::kEndOfStream);
  wire.peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_FALSE(wire.client.idle_and_open());
  EXPECT_EQ(wire.client.read_response().status, 200);
}

TEST(RawClient, RefusesResponsesThatAreNotPlain) {
  for (const char* bytes : {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
                            "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
                            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"}) {
    Wire wire = socket_pair();
    wire.peer.send(bytes);
    EXPECT_EQ(wire.client.read_response().status, 0) << bytes;
  }
}

TEST(ChildProcess, ReportsExitCodesSignalsAndTimeouts) {
  SpawnOptions options;
  options.argv = {"/bin/sh", "-c", "echo out; echo err >&2; exit 3"};
  const RunResult result = run_program(options, Milliseconds(10'000));
  EXPECT_EQ(result.status, (ExitStatus{3, 0}));
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");

  options.argv = {"/bin/sleep", "600"};
  EXPECT_TRUE(run_program(options, Milliseconds(50)).timed_out);
  ChildProcess child(options);
  EXPECT_TRUE(child.running());
  child.send_signal(SIGTERM);
  EXPECT_EQ(child.wait_for(Milliseconds(10'000)), (ExitStatus{0, SIGTERM}));
}

TEST(PrivatePostgres, SurvivesStopsCrashesAndFreezes) {
  PrivatePostgres& cluster = postgres();
  const Database database = cluster.create_database("support");
  database.query("CREATE TABLE t (x int); INSERT INTO t VALUES (1), (NULL)");
  EXPECT_THAT(database.query("SELECT x FROM t ORDER BY x"), ElementsAre(ElementsAre("1"), ElementsAre("")));
  EXPECT_THROW(database.query("SELECT nonsense"), std::runtime_error);
  EXPECT_EQ(database.value("SHOW fsync"), "on");

  cluster.restart(PrivatePostgres::StopMode::kFast);
  EXPECT_EQ(database.value("SELECT count(*) FROM t"), "2");
  cluster.stop(PrivatePostgres::StopMode::kImmediate);
  EXPECT_THROW(database.query("SELECT 1"), std::runtime_error);
  cluster.start();
  cluster.kill_postmaster();
  cluster.start();
  cluster.freeze();
  cluster.thaw();
  EXPECT_EQ(database.value("SELECT count(*) FROM t"), "2");
  EXPECT_NE(cluster.log().find("nonsense"), std::string::npos);
}

TEST(PrivatePostgres, AsksOnlySomeForAPassword) {
  PrivatePostgres& cluster = postgres();
  const Database database = cluster.create_database("password");
  cluster.create_role_with_password("support_role", "secret");
  EXPECT_EQ(database.value("SELECT pg_has_role('support_role', 'with_password', 'MEMBER')"), "t");
  // Two clusters side by side, as under ctest -j: nothing shared.
  PrivatePostgres other;
  EXPECT_NE(other.socket_directory(), cluster.socket_directory());
  EXPECT_EQ(other.create_database("x").value("SELECT 1"), "1");
}

}  // namespace
}  // namespace txn::test
