// What one request costs in the app layer, smallest steps first. Nothing here touches a socket or the database.
//
//   build/release/app_bench --benchmark_min_time=0.5 --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "app/problem.h"
#include "app/rules.h"
#include "app/token.h"
#include "app/token_signer.h"
#include "app/validate.h"
#include "core/json_writer.h"
#include "core/log.h"
#include "core/money.h"
#include "tests/app/key_pair.h"

namespace txn {
namespace {

constexpr int64_t kNow = 1'700'000'000;
constexpr uint8_t kPinSecret[] = "0123456789abcdef0123456789abcdef";

void parse_money_text(benchmark::State& state, std::string_view text) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(text);
    benchmark::DoNotOptimize(parse_money(text));
  }
}
BENCHMARK_CAPTURE(parse_money_text, typical, "1234.56");
BENCHMARK_CAPTURE(parse_money_text, longest, "9999999999999.99");
BENCHMARK_CAPTURE(parse_money_text, exponent, "1.5e3");

void format_money_text(benchmark::State& state) {
  char text[kMoneyTextMax];
  int64_t minor = 123'456;
  for (auto _ : state) {
    benchmark::DoNotOptimize(format_money(Money::from_minor(minor), text));
    benchmark::ClobberMemory();
    minor += 7;
  }
}
BENCHMARK(format_money_text);

void write_timestamp(benchmark::State& state) {
  char text[kTimestampLength];
  int64_t us = kNow * 1'000'000;
  for (auto _ : state) {
    format_timestamp(us, text);
    benchmark::ClobberMemory();
    us += 1'234'567;
  }
}
BENCHMARK(write_timestamp);

// An audit line into a ring that the writer empties; run with standard error to /dev/null.
void write_audit_line(benchmark::State& state) {
  const LogWriter writer;
  const LogChannel channel;
  int64_t number = 1'000'000;
  for (auto _ : state) {
    LOG(kInfo, "audit", "Money movement")
        .field("request_id", "3f0c8a52-77d1-4b8e-9d0f-5f2f1f3f7a10")
        .field("trace_id", "")
        .field("outcome", "success")
        .field("transaction_id", number)
        .field("transaction_type", "DEPOSIT")
        .field("account_number", number % 100'000)
        .field("amount", Money::from_minor(number % 10'000))
        .field("replayed", false)
        .field("subject", "1000001")
        .field("role", "customer")
        .field("client_address", "127.0.0.1")
        .field("status", 200)
        .duration_field("duration_ms", number);
    ++number;
  }
}
BENCHMARK(write_audit_line);

void write_string(benchmark::State& state, std::string_view text) {
  std::string out;
  for (auto _ : state) {
    out.clear();
    append_json_string(out, text);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK_CAPTURE(write_string, plain_40, "rent for the flat in the main street 12a");
BENCHMARK_CAPTURE(write_string, mixed_40, "Miete f\xC3\xBCr \"M\xC3\xA4rz\"\nund die H\xC3\xA4lfte davon");

void write_problem(benchmark::State& state) {
  std::string out;
  for (auto _ : state) {
    out.clear();
    append_problem(out, Problem::kInsufficientFunds,
                   {.detail = {}, .request_id = "5f0c3a52-8a7e-4c39-9a5e-0d6c7b1f2a33"});
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(write_problem);

void hash_pin(benchmark::State& state) {
  const PinHasher pins(kPinSecret);
  for (auto _ : state) benchmark::DoNotOptimize(pins.hash(1001, "1234"));
}
BENCHMARK(hash_pin);

// The argument is how many different tokens take turns: one sits in the processor's cache, thousands do not.
void verify_token(benchmark::State& state, JwtAlgorithm algorithm, bool with_cache) {
  constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";
  const bool is_hmac = algorithm == JwtAlgorithm::kHs256;
  const auto pair = is_hmac ? nullptr : std::make_unique<test::KeyPair>(algorithm);
  const TokenSigner signer = is_hmac ? TokenSigner::with_secret(kSecret).value() : pair->signer();
  const auto verifier = TokenVerifier::create(is_hmac ? TokenKeys::from_secret(kSecret).value()
                                                      : TokenKeys::from_pem(algorithm, pair->public_pem()).value(),
                                              {}, with_cache ? kTokenCacheEntries : 0)
                            .value();
  std::vector<std::string> tokens;
  for (int64_t subject = 1; subject <= state.range(0); ++subject) {
    tokens.push_back(signer.sign({.subject = subject,
                                  .role = Role::kCustomer,
                                  .issued_at = kNow,
                                  .expires_at = kNow + 3600,
                                  .issuer = "https://auth.bank.example",
                                  .audience = "transactions",
                                  .login_id = {}}));
    if (!verifier->verify(tokens.back(), kNow)) state.SkipWithError("the token is refused");
  }
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(verifier->verify(tokens[next], kNow));
    if (++next == tokens.size()) next = 0;
  }
}
BENCHMARK_CAPTURE(verify_token, hs256, JwtAlgorithm::kHs256, false)->Arg(1)->Arg(4096)->Arg(65536);
BENCHMARK_CAPTURE(verify_token, hs256_cached, JwtAlgorithm::kHs256, true)->Arg(1)->Arg(4096)->Arg(65536);
BENCHMARK_CAPTURE(verify_token, rs256, JwtAlgorithm::kRs256, false)->Arg(1)->Arg(512);
BENCHMARK_CAPTURE(verify_token, rs256_cached, JwtAlgorithm::kRs256, true)->Arg(1)->Arg(512);
BENCHMARK_CAPTURE(verify_token, es256, JwtAlgorithm::kEs256, false)->Arg(1)->Arg(4096);
BENCHMARK_CAPTURE(verify_token, es256_cached, JwtAlgorithm::kEs256, true)->Arg(1)->Arg(4096);
BENCHMARK_CAPTURE(verify_token, eddsa, JwtAlgorithm::kEdDsa, false)->Arg(1)->Arg(4096);
BENCHMARK_CAPTURE(verify_token, eddsa_cached, JwtAlgorithm::kEdDsa, true)->Arg(1)->Arg(4096);

constexpr std::string_view kDepositBody = R"({"account_number":1001,"amount":125.50,"description":"salary"})";
constexpr std::string_view kTransferBody =
    R"({"from_account":1001,"to_account":1002,"amount":125.50,"transfer_mode":"UPI","pin":"1234","description":"rent for the flat"})";

void parse_deposit_body(benchmark::State& state) {
  BodyParser parser;
  for (auto _ : state) benchmark::DoNotOptimize(parser.parse_deposit(kDepositBody));
}
BENCHMARK(parse_deposit_body);

void parse_transfer_body(benchmark::State& state) {
  BodyParser parser;
  for (auto _ : state) benchmark::DoNotOptimize(parser.parse_transfer(kTransferBody));
}
BENCHMARK(parse_transfer_body);

// A batch of 256 operations over as many accounts; the time is that of one operation.
void decide_batch(benchmark::State& state, OperationType type, bool with_pin) {
  constexpr size_t kBatch = 256;
  const PinHasher pins(kPinSecret);
  TransferLimits limits;
  limits.fill({kMaxBalance, 1 << 30});
  std::vector<AccountState> accounts(kBatch);
  std::vector<Operation> operations(kBatch);
  for (size_t i = 0; i < kBatch; ++i) {
    accounts[i].account_number = static_cast<int64_t>(1'000 + 7 * i);
    accounts[i].owner_id = 1;
    accounts[i].is_active = true;
    accounts[i].balance = Money::from_minor(500'000'000'000'000);
    if (with_pin) accounts[i].pin_hash = pins.hash(accounts[i].account_number, "1234");
  }
  for (size_t i = 0; i < kBatch; ++i) {
    operations[i].type = type;
    operations[i].caller_id = 1;
    operations[i].account_number = accounts[i * 101 % kBatch].account_number;
    operations[i].to_account = accounts[(i * 101 + 1) % kBatch].account_number;
    operations[i].amount = Money::from_minor(1);
    operations[i].pin = "1234";
  }
  std::vector<LogRow> log;
  log.reserve(2 * kBatch);
  int64_t transaction_id = 1;
  for (auto _ : state) {
    log.clear();
    for (const Operation& operation : operations) {
      const Outcome outcome =
          decide(operation, accounts, transaction_id++, {.limits = limits, .now_us = kNow, .pins = pins}, log);
      if (outcome.code != OutcomeCode::kSuccess) state.SkipWithError("refused");
    }
    benchmark::DoNotOptimize(log.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatch));
  state.counters["one"] = benchmark::Counter(static_cast<double>(state.iterations()) * kBatch,
                                             benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK_CAPTURE(decide_batch, deposit, OperationType::kDeposit, false);
BENCHMARK_CAPTURE(decide_batch, transfer, OperationType::kTransfer, false);
BENCHMARK_CAPTURE(decide_batch, transfer_with_pin, OperationType::kTransfer, true);

}  // namespace
}  // namespace txn
