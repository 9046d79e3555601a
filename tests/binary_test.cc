// The binary that is shipped: what the compiler and the linker were asked for is really in it. Looks at the ELF file
// with readelf(1).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

namespace txn {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

std::string readelf(const std::string& options) {
  const std::string command = "LC_ALL=C readelf --wide " + options + " " TXN_BINARY_DIR "/transactions-service 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t read = std::fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), read);
  EXPECT_EQ(pclose(pipe), 0) << output;
  return output;
}

// Names of the dynamic symbols: those that the binary offers, or those that it asks for.
std::vector<std::string> dynamic_symbols(bool offered) {
  std::vector<std::string> names;
  std::istringstream lines(readelf("--dyn-syms"));
  std::string line;
  while (std::getline(lines, line)) {
    // "   12: 0000000000001234    56 FUNC    GLOBAL DEFAULT   14 name@VERSION"
    std::istringstream in(line);
    std::string number, value, size, type, binding, visibility, section, name;
    if (!(in >> number >> value >> size >> type >> binding >> visibility >> section >> name)) continue;
    if (binding != "GLOBAL" && binding != "WEAK") continue;
    if ((section != "UND") == offered) names.push_back(name);
  }
  return names;
}

bool any_contains(const std::vector<std::string>& names, const std::string& part) {
  for (const std::string& name : names) {
    if (name.find(part) != std::string::npos) return true;
  }
  return false;
}

TEST(Binary, IsPositionIndependent) {
  EXPECT_THAT(readelf("--file-header"), ContainsRegex("Type: +DYN"));
  EXPECT_THAT(readelf("--dynamic"), ContainsRegex("FLAGS_1.* PIE"));
}

TEST(Binary, ResolvesAllSymbolsAtStartAndProtectsTheirTable) {
  EXPECT_THAT(readelf("--program-headers"), HasSubstr("GNU_RELRO"));
  EXPECT_THAT(readelf("--dynamic"),
              AllOf(ContainsRegex("FLAGS\\) +BIND_NOW|BIND_NOW"), ContainsRegex("FLAGS_1.* NOW")));
}

TEST(Binary, HasNoMemoryThatIsBothWritableAndExecutable) {
  const std::string headers = readelf("--program-headers");
  EXPECT_THAT(headers, ContainsRegex("GNU_STACK .* RW "));
  EXPECT_THAT(headers, Not(ContainsRegex("(LOAD|GNU_STACK) .* RWE ")));
  EXPECT_THAT(readelf("--dynamic"), Not(HasSubstr("TEXTREL")));
}

TEST(Binary, LoadsNothingFromPlacesOfItsOwn) {
  EXPECT_THAT(readelf("--dynamic"), AllOf(Not(HasSubstr("RPATH")), Not(HasSubstr("RUNPATH"))));
}

TEST(Binary, HasStackProtectorsAndFortifiedCalls) {
  const auto asked_for = dynamic_symbols(false);
  ASSERT_FALSE(asked_for.empty());
  EXPECT_TRUE(any_contains(asked_for, "__stack_chk_fail"));
#ifdef TXN_FORTIFIED
  EXPECT_TRUE(any_contains(asked_for, "_chk@"));
  bool fortified = false;
  for (const std::string& name : asked_for)
    fortified = fortified || (name.find("_chk") != std::string::npos && name.find("__stack_chk") == std::string::npos);
  EXPECT_TRUE(fortified);
#endif
}

// libpq comes with OpenSSL, which has functions of the same names: BoringSSL's must not take their place.
TEST(Binary, OffersNoCryptographyToItsLibraries) {
  for (const std::string& name : dynamic_symbols(true)) {
    for (const char* prefix : {"SSL_", "CRYPTO_", "EVP_", "HMAC", "SHA256", "RSA_", "EC_", "X509_", "BIO_", "OPENSSL_",
                               "ERR_", "BN_", "ASN1_", "bssl", "_ZN4bssl"})
      EXPECT_NE(name.rfind(prefix, 0), 0u) << name;
  }
  EXPECT_FALSE(any_contains(dynamic_symbols(false), "EVP_")) << "ours is linked in, libpq's is libpq's";
}

}  // namespace
}  // namespace txn
