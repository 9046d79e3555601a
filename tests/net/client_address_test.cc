#include "net/client_address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "net/http_parser.h"

namespace txn {
namespace {

IpAddress address(std::string_view text) {
  const auto parsed = IpAddress::parse(text);
  EXPECT_TRUE(parsed.has_value()) << text;
  return parsed.value_or(IpAddress{});
}

std::string text_of(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.is_ipv4()) return inet_ntop(AF_INET, address.bytes.data() + 12, text, sizeof text);
  return inet_ntop(AF_INET6, address.bytes.data(), text, sizeof text);
}

const std::vector<Cidr> kProxies{*parse_cidr("10.0.0.0/8"), *parse_cidr("2001:db8:ffff::/48"),
                                 *parse_cidr("127.0.0.1")};

using Fields = std::vector<std::string_view>;

std::string client(std::string_view peer, const Fields& x_forwarded_for, const Fields& forwarded = {},
                   const std::vector<Cidr>& trusted = kProxies) {
  return text_of(client_address(address(peer), x_forwarded_for, forwarded, trusted));
}

TEST(IpAddress, HasOneSpellingEach) {
  EXPECT_EQ(address("192.0.2.1"), address("::ffff:192.0.2.1"));
  EXPECT_EQ(address("192.0.2.1"), address("::ffff:c000:201"));
  EXPECT_TRUE(address("192.0.2.1").is_ipv4());
  EXPECT_FALSE(address("::192.0.2.1").is_ipv4());
  EXPECT_NE(address("192.0.2.1"), address("192.0.2.2"));
  for (const char* garbage : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "fe80::1%eth0", "::1/64",
                              "12345::", "localhost", "0x7f.1", "[::1]"})
    EXPECT_FALSE(IpAddress::parse(garbage).has_value()) << garbage;
  EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)).has_value());
  EXPECT_FALSE(IpAddress::parse(std::string(4096, '1')).has_value());
}

TEST(IpAddress, OneCustomerIsASlash64OrAnIpv4Address) {
  EXPECT_EQ(address("2001:db8:1:2:3:4:5:6").network(), address("2001:db8:1:2::").network());
  EXPECT_NE(address("2001:db8:1:2::1").network(), address("2001:db8:1:3::1").network());
  EXPECT_EQ(address("::ffff:192.0.2.1").network(), address("192.0.2.1"));
  EXPECT_NE(address("192.0.2.1").network(), address("192.0.2.2").network());
}

TEST(Networks, ContainTheirAddresses) {
  const auto in = [](std::string_view network, std::string_view member) {
    const std::vector<Cidr> networks{*parse_cidr(network)};
    return contains(networks, address(member));
  };
  EXPECT_TRUE(in("10.0.0.0/8", "10.255.255.255"));
  EXPECT_FALSE(in("10.0.0.0/8", "11.0.0.0"));
  EXPECT_TRUE(in("10.0.0.0/8", "::ffff:10.1.2.3"));
  EXPECT_TRUE(in("192.0.2.128/25", "192.0.2.200"));
  EXPECT_FALSE(in("192.0.2.128/25", "192.0.2.127"));
  EXPECT_TRUE(in("192.0.2.1", "192.0.2.1"));
  EXPECT_FALSE(in("192.0.2.1", "192.0.2.0"));
  EXPECT_TRUE(in("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(in("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_TRUE(in("0.0.0.0/0", "1.2.3.4"));
  EXPECT_FALSE(in("0.0.0.0/0", "::1"));
  EXPECT_TRUE(in("::/0", "2001::1"));
  EXPECT_FALSE(in("::/0", "1.2.3.4"));
}

TEST(ClientAddress, HeadersOfStrangersSayNothing) {
  EXPECT_EQ(client("192.0.2.9", {"203.0.113.7"}), "192.0.2.9");
  EXPECT_EQ(client("192.0.2.9", {}, {"for=203.0.113.7"}), "192.0.2.9");
  EXPECT_EQ(client("10.0.0.1", {"203.0.113.7"}, {}, {}), "10.0.0.1");
}

TEST(ClientAddress, IsTheFirstHopFromTheRightThatIsNotTrusted) {
  struct Case {
    Fields fields;
    const char* client;
  };
  for (const Case& c : {
           Case{{}, "10.0.0.1"},
           Case{{""}, "10.0.0.1"},
           Case{{"203.0.113.7"}, "203.0.113.7"},
           Case{{"1.1.1.1, 203.0.113.7"}, "203.0.113.7"},  // what stands to the left anybody can have written
           Case{{"203.0.113.7, 10.2.2.2, 10.3.3.3"}, "203.0.113.7"},
           Case{{"1.1.1.1,203.0.113.7,10.2.2.2"}, "203.0.113.7"},
           Case{{"10.9.9.9, 203.0.113.7"}, "203.0.113.7"},
           Case{{"10.5.5.5, 10.2.2.2"}, "10.5.5.5"},         // all of them trusted: where it began
           Case{{"1.1.1.1", "203.0.113.7"}, "203.0.113.7"},  // several fields are one list
           Case{{"203.0.113.7", "10.2.2.2"}, "203.0.113.7"},
           Case{{"203.0.113.7:4711"}, "203.0.113.7"},
           Case{{"[2001:db8::7]:4711"}, "2001:db8::7"},
           Case{{"2001:db8::7"}, "2001:db8::7"},
           Case{{"::ffff:203.0.113.7"}, "203.0.113.7"},
           Case{{"203.0.113.7, 2001:db8:ffff::1"}, "203.0.113.7"},
           Case{{" ,203.0.113.7 ,\t, "}, "203.0.113.7"},
           // What is no address ends the walk at the hop that added it.
           Case{{"unknown"}, "10.0.0.1"},
           Case{{"203.0.113.7, unknown"}, "10.0.0.1"},
           Case{{"203.0.113.7, _hidden, 10.2.2.2"}, "10.2.2.2"},
           Case{{"203.0.113.7;10.2.2.2"}, "10.0.0.1"},
           Case{{"203.0.113.7:"}, "10.0.0.1"},
           Case{{"203.0.113.7:http"}, "10.0.0.1"},
           Case{{"203.0.113.7:123456"}, "10.0.0.1"},
           Case{{"[203.0.113.7]"}, "10.0.0.1"},
           Case{{"[2001:db8::7"}, "10.0.0.1"},
           Case{{"[2001:db8::7]x"}, "10.0.0.1"},
           Case{{":80"}, "10.0.0.1"},
           Case{{"\xff\xfe"}, "10.0.0.1"},
       }) {
    EXPECT_EQ(client("10.0.0.1", c.fields), c.client) << (c.fields.empty() ? "" : c.fields[0]);
  }
}

TEST(ClientAddress, ReadsForwarded) {
  struct Case {
    Fields fields;
    const char* client;
  };
  for (const Case& c : {
           Case{{"for=203.0.113.7"}, "203.0.113.7"},
           Case{{"For=203.0.113.7;proto=https;by=10.0.0.1"}, "203.0.113.7"},
           Case{{"proto=https ; for=203.0.113.7"}, "203.0.113.7"},
           Case{{"for=\"203.0.113.7:4711\""}, "203.0.113.7"},
           Case{{"for=\"[2001:db8::7]\""}, "2001:db8::7"},
           Case{{"for=\"[2001:db8::7]:4711\""}, "2001:db8::7"},
           Case{{"for=\"203.0.\\113.7\""}, "203.0.113.7"},
           Case{{"for=1.1.1.1, for=203.0.113.7, for=10.2.2.2"}, "203.0.113.7"},
           Case{{"for=203.0.113.7", "for=10.2.2.2"}, "203.0.113.7"},
           Case{{"for=203.0.113.7, for=\"[2001:db8:ffff::2]\""}, "203.0.113.7"},
           Case{{", ,for=203.0.113.7,,"}, "203.0.113.7"},
           Case{{"for=203.0.113.7;;"}, "203.0.113.7"},
           Case{{"host=\"a,b;for=1.1.1.1\";for=203.0.113.7"}, "203.0.113.7"},
           // Not known, hidden, or not there at all.
           Case{{"for=unknown"}, "10.0.0.1"},
           Case{{"for=_hidden, for=10.2.2.2"}, "10.2.2.2"},
           Case{{"for=203.0.113.7, proto=https"}, "10.0.0.1"},
           Case{{";"}, "10.0.0.1"},
           // Malformed: nothing of that field counts.
           Case{{"203.0.113.7"}, "10.0.0.1"},
           Case{{"for=[2001:db8::7]"}, "10.0.0.1"},
           Case{{"for=2001:db8::7"}, "10.0.0.1"},
           Case{{"for=\"2001:db8::7\""}, "10.0.0.1"},
           Case{{"for"}, "10.0.0.1"},
           Case{{"for="}, "10.0.0.1"},
           Case{{"=203.0.113.7"}, "10.0.0.1"},
           Case{{"for = 203.0.113.7"}, "10.0.0.1"},
           Case{{"for=203.0.113.7;for=1.1.1.1"}, "10.0.0.1"},
           Case{{"for=203.0.113.7 for=1.1.1.1"}, "10.0.0.1"},
           Case{{"for=\"203.0.113.7"}, "10.0.0.1"},
           Case{{"for=\"203.0.113.7\\"}, "10.0.0.1"},
           Case{{"for=\"203.0.113.7\"x"}, "10.0.0.1"},
       }) {
    EXPECT_EQ(client("10.0.0.1", {}, c.fields), c.client) << c.fields[0];
  }
}

// Whatever a client sends ahead of it, the element that its proxy appends is the one that counts, or none is.
TEST(ClientAddress, NothingSentAheadTakesThePlaceOfTheProxysElement) {
  std::mt19937 random(7);
  const std::string alphabet = "for=\"\\,; 1.2[:]_\t";
  for (int round = 0; round < 20'000; ++round) {
    std::string sent;
    for (size_t size = random() % 24; size > 0; --size) sent += alphabet[random() % alphabet.size()];
    if (round % 4 == 0) sent = "for=1.2.3.4;x=\"" + sent;
    for (const char* appended : {"for=203.0.113.7", "for=\"[2001:db8::7]:80\"", "for=\"203.0.113.7\";proto=https"}) {
      std::string field = sent;
      field += ", ";
      field += appended;
      const std::string found = client("10.0.0.1", {}, {field});
      EXPECT_TRUE(found == "203.0.113.7" || found == "2001:db8::7" || found == "10.0.0.1") << field << " is " << found;
    }
    const std::string field = sent + ", 203.0.113.7";
    EXPECT_EQ(client("10.0.0.1", {field}), "203.0.113.7") << field;
  }
}

TEST(ClientAddress, TwoHeadersHaveToAgree) {
  EXPECT_EQ(client("10.0.0.1", {"203.0.113.7"}, {"for=203.0.113.7"}), "203.0.113.7");
  EXPECT_EQ(client("10.0.0.1", {"203.0.113.7"}, {"for=198.51.100.1"}), "10.0.0.1");
  EXPECT_EQ(client("10.0.0.1", {"203.0.113.7"}, {"for=unknown"}), "10.0.0.1");
}

TEST(ClientAddress, LongChainsEndAtTheBound) {
  std::string field = "203.0.113.7";
  std::string forwarded = "for=203.0.113.7";
  for (size_t hop = 1; hop < kForwardedHopsMax; ++hop) {
    field += ",10.0.1." + std::to_string(hop);
    forwarded += ",for=10.0.1." + std::to_string(hop);
  }
  EXPECT_EQ(client("10.0.0.1", {field}), "203.0.113.7");
  EXPECT_EQ(client("10.0.0.1", {}, {forwarded}), "203.0.113.7");
  field += ",10.0.2.1";
  forwarded += ",for=10.0.2.1";
  EXPECT_EQ(client("10.0.0.1", {field}), "10.0.1.1");
  EXPECT_EQ(client("10.0.0.1", {}, {forwarded}), "10.0.1.1");
}

TEST(ClientAddress, IsFoundInARequest) {
  const auto of_request = [](const std::string& headers) {
    const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n";
    HttpParser parser;
    EXPECT_EQ(parser.feed({bytes.data(), bytes.size()}), HttpParser::Status::kRequest) << headers;
    return text_of(client_address(address("10.0.0.1"), parser.request(), kProxies));
  };
  EXPECT_EQ(of_request(""), "10.0.0.1");
  EXPECT_EQ(of_request("X-Forwarded-For: 203.0.113.7\r\n"), "203.0.113.7");
  EXPECT_EQ(of_request("X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 203.0.113.7\r\n"), "203.0.113.7");
  EXPECT_EQ(of_request("Forwarded: for=1.1.1.1\r\nforwarded: for=203.0.113.7\r\n"), "203.0.113.7");
  EXPECT_EQ(of_request("Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 203.0.113.7\r\n"), "10.0.0.1");
  std::string huge = "X-Forwarded-For: ";
  while (huge.size() < 15'000) huge += "10.0.0.2,";
  EXPECT_EQ(of_request(huge + "\r\n"), "10.0.0.2");
  std::string many;
  for (int i = 0; i < 90; ++i) many += "X-Forwarded-For: 10.0.0.3\r\n";
  EXPECT_EQ(of_request(many), "10.0.0.3");
}

}  // namespace
}  // namespace txn
