// Which targets a conninfo comes to: libpq's rules for lists, with names resolved.
#include "db/pg_targets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "db/pg_dial.h"

namespace txn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Result<std::vector<std::string>> resolve(const std::string& host) {
  if (host == "both") return std::vector<std::string>{"2001:db8::1", "192.0.2.1"};
  if (host == "one") return std::vector<std::string>{"192.0.2.9"};
  return fail(ErrorKind::kUnavailable, "no such host " + host);
}

PgTargets list(const std::string& conninfo) {
  auto targets = list_targets(conninfo, resolve);
  EXPECT_TRUE(targets.has_value()) << targets.error().message;
  return targets ? std::move(*targets) : PgTargets{};
}

std::vector<std::string> names_of(const PgTargets& targets) {
  std::vector<std::string> names;
  for (const PgTarget& target : targets.targets) names.push_back(target.name);
  return names;
}

std::string value_of(const PgTarget& target, const std::string& keyword) {
  const auto found = target.parameters.find(keyword);
  return found == target.parameters.end() ? "(none)" : found->second;
}

TEST(PgTargets, ANameIsATargetForEachOfItsAddresses) {
  const PgTargets both = list("host=both user=u password=secret dbname=d sslmode=verify-full");
  EXPECT_THAT(names_of(both), ElementsAre("both (2001:db8::1), port 5432", "both (192.0.2.1), port 5432"));
  for (const PgTarget& target : both.targets) {
    EXPECT_EQ(value_of(target, "host"), "both") << "for the certificate and the password file";
    EXPECT_EQ(value_of(target, "password"), "secret");
    EXPECT_EQ(value_of(target, "sslmode"), "verify-full");
    EXPECT_EQ(value_of(target, "target_session_attrs"), "(none)") << "one host, which libpq would not ask either";
  }
  EXPECT_EQ(value_of(both.targets[1], "hostaddr"), "192.0.2.1");
}

TEST(PgTargets, ListsGoTogether) {
  const PgTargets all = list("postgresql://u:p%40x@both:1,one:2,%2Frun%2Fpg:3/d");
  EXPECT_THAT(names_of(all), ElementsAre("both (2001:db8::1), port 1", "both (192.0.2.1), port 1",
                                         "one (192.0.2.9), port 2", "/run/pg, port 3"));
  for (const PgTarget& target : all.targets) EXPECT_EQ(value_of(target, "target_session_attrs"), "read-write");
  EXPECT_EQ(value_of(all.targets[3], "hostaddr"), "(none)");
  EXPECT_THAT(names_of(list("host=a,b hostaddr=192.0.2.1,192.0.2.2 port=7")),
              ElementsAre("a (192.0.2.1), port 7", "b (192.0.2.2), port 7"));
  EXPECT_THAT(names_of(list("hostaddr=192.0.2.1,::1")), ElementsAre("192.0.2.1, port 5432", "::1, port 5432"));
  EXPECT_EQ(value_of(list("host=/a,/b target_session_attrs=any").targets[0], "target_session_attrs"), "any");
}

TEST(PgTargets, AHostThatMeansNothingIsAProblemAndTheOthersStay) {
  const PgTargets some = list("host=gone,one");
  EXPECT_THAT(names_of(some), ElementsAre("one (192.0.2.9), port 5432"));
  EXPECT_THAT(some.problems, ElementsAre("no such host gone"));
}

TEST(PgTargets, WhatIsNotSaidIsUpToLibpq) {
  EXPECT_THAT(names_of(list("dbname=d")), ElementsAre("the local socket, port 5432"));
  ::setenv("PGHOST", "/from/the/environment,one", 1);
  ::setenv("PGPORT", "6000", 1);
  EXPECT_THAT(names_of(list("dbname=d")),
              ElementsAre("/from/the/environment, port 6000", "one (192.0.2.9), port 6000"));
  EXPECT_THAT(names_of(list("host=/said")), ElementsAre("/said, port 6000"));
  EXPECT_TRUE(needs_read_write({}));
  EXPECT_FALSE(needs_read_write({{"host", "one"}}));
  ::unsetenv("PGHOST");
  ::unsetenv("PGPORT");
  EXPECT_FALSE(needs_read_write({}));
  EXPECT_TRUE(needs_read_write({{"host", "one,two"}}));
  EXPECT_FALSE(needs_read_write({{"host", "one,two"}, {"target_session_attrs", "any"}}));
  ::setenv("PGTARGETSESSIONATTRS", "any", 1);
  EXPECT_FALSE(needs_read_write({{"host", "one,two"}}));
  ::unsetenv("PGTARGETSESSIONATTRS");
}

TEST(PgTargets, ServicesAndListsThatDoNotMatchAreLeftToLibpq) {
  const PgTargets service = list("service=books connect_timeout=7");
  EXPECT_THAT(names_of(service), ElementsAre("service books"));
  EXPECT_EQ(value_of(service.targets[0], "service"), "books");
  EXPECT_EQ(service.connect_timeout_seconds, 7);
  const PgTargets odd = list("host=a,b,c port=1,2");
  ASSERT_EQ(odd.targets.size(), 1u);
  EXPECT_EQ(value_of(odd.targets[0], "port"), "1,2");
}

TEST(PgTargets, TimeOutsOfZeroAreNone) {
  EXPECT_EQ(list("host=/a connect_timeout=3").connect_timeout_seconds, 3);
  EXPECT_EQ(list("host=/a connect_timeout=0").connect_timeout_seconds, std::nullopt);
  EXPECT_EQ(list("host=/a").connect_timeout_seconds, std::nullopt);
}

TEST(PgTargets, ErrorsQuoteNothingOfAPassword) {
  for (const char* conninfo :
       {"postgresql://u:pa@ss@host/d", "host=a password='secret", "postgresql://u:s ecret@h:x/"}) {
    const auto targets = list_targets(conninfo, resolve);
    if (targets) continue;
    EXPECT_EQ(targets.error().kind, ErrorKind::kInvalidArgument);
    EXPECT_THAT(targets.error().message, Not(HasSubstr("ss@host")));
    EXPECT_THAT(targets.error().message, Not(HasSubstr("ecret")));
  }
  EXPECT_FALSE(list_targets("postgresql://u:pa@ss@host/d", resolve).has_value());
}

TEST(PgDial, TheSqlstateOfARefusalIsFoundInAnyLanguageAndTheTextIsOneLine) {
  std::string text =
      "connection to server on socket \"/run/.s.PGSQL.5432\" failed: FATAL:  53300: too many connections for role "
      "\"few\"\n"
      "LOCATION:  InitializeSessionUserId, miscinit.c:802\n";
  EXPECT_EQ(take_sqlstate(text), "53300");
  EXPECT_EQ(
      text,
      "connection to server on socket \"/run/.s.PGSQL.5432\" failed: FATAL:  too many connections for role \"few\"");
  text = "Verbindung fehlgeschlagen: FATAL:  53300: zu viele Verbindungen\nORT:  InitProcess, proc.c:353\n";
  EXPECT_EQ(take_sqlstate(text), "53300");
  EXPECT_EQ(text, "Verbindung fehlgeschlagen: FATAL:  zu viele Verbindungen");
  text = "connection failed: Connection refused\n\tIs the server running?\n";
  EXPECT_EQ(take_sqlstate(text), "");
  EXPECT_EQ(text, "connection failed: Connection refused \tIs the server running?");
  text = "";
  EXPECT_EQ(take_sqlstate(text), "");
}

}  // namespace
}  // namespace txn
