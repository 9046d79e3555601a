#include "db/redis_client.h"

#include <hiredis.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/log.h"

namespace txn {
namespace {

// A reply of ours has some forty bytes; an error, a line.
constexpr size_t kUnreadMax = 16 * 1024;
constexpr size_t kErrorMax = 200;

void append_word(std::string& out, std::string_view word) {
  out += '$';
  out += std::to_string(word.size());
  out += "\r\n";
  out += word;
  out += "\r\n";
}

}  // namespace

void RedisHealth::lost(std::string_view why) {
  if (without_.fetch_add(1) == 0)
    LOG(kWarning, "db.redis", "Redis is of no use; rate limits are counted by this process alone")
        .field("exception", why);
}

void RedisHealth::back() {
  if (without_.fetch_sub(1) == 1) LOG(kInfo, "db.redis", "Redis is back; rate limits are shared again");
}

void RedisClient::FreeReader::operator()(redisReader* reader) const { redisReaderFree(reader); }

RedisClient::RedisClient(Loop& loop, RedisConnector& connector, RedisHealth& health)
    : loop_(loop), connector_(connector), health_(health), pause_(loop), receive_(*this), send_(*this) {}

RedisClient::~RedisClient() { CHECK(socket_ < 0, "a connection is closed before it is destroyed"); }

void RedisClient::start(Scope& scope) { scope.spawn(keep_connected()); }

void RedisClient::stop() {
  CHECK(runs_.empty(), "no run is under way when its client stops");
  pause_.end();
  lose("shutting down");
}

Task<void> RedisClient::keep_connected() {
  int64_t pause_ns = kPauseMinNs;
  while (!pause_.ended()) {
    auto opened = co_await connector_.open(loop_);
    tried_ = true;
    if (pause_.ended()) {
      if (opened) ::close(opened->socket);
      break;
    }
    if (!opened) {
      tell_lost(opened.error().message);
      co_await pause_.wait(pause_ns);
      pause_ns = std::min(pause_ns * 2, kPauseMaxNs);
      continue;
    }
    const int64_t connected_ns = loop_.clock().now_ns();
    adopt(std::move(*opened));
    struct LetGo {
      RedisClient& client;
      bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<> handle) const {
        client.keeper_ = handle;
        client.resume_keeper_if_idle();
      }
      void await_resume() const {}
    };
    co_await LetGo{*this};
    ::close(socket_);
    socket_ = -1;
    // A connection that was good for a while is opened again at once.
    if (loop_.clock().now_ns() - connected_ns > kPauseMaxNs) {
      pause_ns = kPauseMinNs;
      continue;
    }
    co_await pause_.wait(pause_ns);
    pause_ns = std::min(pause_ns * 2, kPauseMaxNs);
  }
}

void RedisClient::adopt(OpenedRedis opened) {
  // Version 0.14 counts elements in int, 1.0 and later in size_t.
  constexpr auto kOnArray = [](const redisReadTask* task, auto elements) -> void* {
    return on_array(task, static_cast<size_t>(elements));
  };
  static redisReplyObjectFunctions functions{.createString = on_string,
                                             .createArray = kOnArray,
                                             .createInteger = on_integer,
                                             .createNil = on_nil,
                                             .freeObject = [](void*) {}};
  socket_ = opened.socket;
  lost_ = false;
  script_sha_ = std::move(opened.script_sha);
  reader_.reset(redisReaderCreateWithFunctions(&functions));
  CHECK(reader_ != nullptr, "memory for a reader");
  reader_->privdata = this;
  out_.clear();
  sending_.clear();
  sent_ = 0;
  found_ = Found();
  ++counters_.connects;
  loop_.ring().receive(socket_, receive_);
  if (told_lost_) {
    told_lost_ = false;
    health_.back();
  }
}

bool RedisClient::admits() {
  ++counters_.runs;
  if (is_connected() && run_count_ < kRunsMax) return true;
  ++counters_.unavailable;
  if (!is_connected()) tell_lost("not connected");
  return false;
}

void RedisClient::begin(Run& run) {
  run.deadline_ns = loop_.clock().now_ns() + kTimeoutNs;
  runs_.push_back(run);
  ++run_count_;
  append_command(run);
  if (!is_armed()) loop_.timers().arm(*this, run.deadline_ns);
}

void RedisClient::append_command(const Run& run) {
  out_ += '*';
  out_ += std::to_string(4 + run.arguments.size());
  out_ += "\r\n";
  append_word(out_, run.with_source ? "EVAL" : "EVALSHA");
  append_word(out_, run.with_source ? connector_.options().script : script_sha_);
  append_word(out_, "1");
  append_word(out_, run.key);
  for (const std::string_view argument : run.arguments) append_word(out_, argument);
  loop_.flush_soon(*this, FlushStage::kDatabase);
}

void RedisClient::flush() {
  if (lost_) {
    resume_keeper_if_idle();
    return;
  }
  // After a receive that found no buffer.
  if (!receive_.in_flight()) loop_.ring().receive(socket_, receive_);
  if (send_.in_flight() || out_.empty()) return;
  std::swap(out_, sending_);
  out_.clear();
  sent_ = 0;
  loop_.ring().send(socket_, {sending_.data(), sending_.size()}, send_);
}

void RedisClient::on_send(const CompletionEvent& event) {
  if (lost_) return resume_keeper_if_idle();
  if (event.result < 0 && event.result != -EINTR && event.result != -EAGAIN)
    return lose(std::string("sending: ") + std::strerror(-event.result));
  if (event.result > 0) sent_ += static_cast<size_t>(event.result);
  if (sent_ < sending_.size()) {
    loop_.ring().send(socket_, {sending_.data() + sent_, sending_.size() - sent_}, send_);
    return;
  }
  sending_.clear();
  sent_ = 0;
  if (!out_.empty()) loop_.flush_soon(*this, FlushStage::kDatabase);
}

void RedisClient::on_receive(const CompletionEvent& event) {
  if (lost_) {
    if (!event.more) resume_keeper_if_idle();
    return;
  }
  if (event.result == 0) return lose("the server closed the connection");
  if (event.result < 0 && event.result != -ENOBUFS && event.result != -EINTR && event.result != -EAGAIN)
    return lose(std::string("receiving: ") + std::strerror(-event.result));
  if (event.result > 0) {
    if (redisReaderFeed(reader_.get(), event.data.data(), event.data.size()) != REDIS_OK) return lose(reader_->errstr);
    while (!lost_) {
      void* reply = nullptr;
      if (redisReaderGetReply(reader_.get(), &reply) != REDIS_OK) return lose(reader_->errstr);
      if (reply == nullptr) break;
      on_reply();
      found_ = Found();
    }
    if (lost_) return;
    if (runs_.empty() && reader_->len > reader_->pos) return lose("bytes that nobody asked for");
    if (reader_->len - reader_->pos > kUnreadMax) return lose("a reply that is too long");
  }
  if (!event.more) loop_.flush_soon(*this, FlushStage::kDatabase);
}

void RedisClient::on_reply() {
  Run* run = runs_.front();
  if (run == nullptr) return lose("a reply that nobody asked for");
  if (found_.is_error) {
    if (!found_.error.starts_with("NOSCRIPT") || run->with_source) return lose(found_.error);
    // The server has been restarted or its scripts flushed: bring it along, which loads it for the others.
    ++counters_.reloads;
    run->with_source = true;
    run->unlink();
    runs_.push_back(*run);
    append_command(*run);
    return;
  }
  if (!found_.is_result) return lose("a reply of another kind");
  run->reply = found_.values;
  finish(*run);
}

void RedisClient::finish(Run& run) {
  run.unlink();
  --run_count_;
  loop_.resume_soon(run.waiting);
}

// The run that waits longest is the first; one that had to bring the script along may be late by as much again.
void RedisClient::on_timer() {
  const Run* first = runs_.front();
  if (first == nullptr || lost_) return;
  if (loop_.clock().now_ns() < first->deadline_ns) {
    loop_.timers().arm(*this, first->deadline_ns);
    return;
  }
  ++counters_.timeouts;
  lose("no answer in time");
}

void RedisClient::lose(std::string_view why) {
  if (socket_ < 0 || lost_) return;
  lost_ = true;
  ++counters_.losses;
  loop_.timers().disarm(*this);
  if (!runs_.empty()) tell_lost(why);
  while (Run* run = runs_.front()) {
    ++counters_.unavailable;
    run->reply.reset();
    finish(*run);
  }
  ::shutdown(socket_, SHUT_RDWR);
  loop_.ring().cancel(receive_);
  loop_.ring().cancel(send_);
  resume_keeper_if_idle();
}

void RedisClient::tell_lost(std::string_view why) {
  if (std::exchange(told_lost_, true)) return;
  health_.lost(why);
}

void RedisClient::resume_keeper_if_idle() {
  if (lost_ && keeper_ && !receive_.in_flight() && !send_.in_flight())
    loop_.resume_soon(std::exchange(keeper_, nullptr));
}

void* RedisClient::on_string(const redisReadTask* task, char* text, size_t size) {
  Found& found = static_cast<RedisClient*>(task->privdata)->found_;
  if (task->type == REDIS_REPLY_ERROR && task->parent == nullptr) {
    found.is_error = true;
    found.error.assign(text, std::min(size, kErrorMax));
    for (char& c : found.error) {
      if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
    }
  }
  if (task->parent != nullptr) found.is_result = false;
  return &found;
}

// The reply itself is an array; whatever stands in it in place of integers takes that back.
void* RedisClient::on_array(const redisReadTask* task, size_t elements) {
  Found& found = static_cast<RedisClient*>(task->privdata)->found_;
  found.is_result = task->parent == nullptr && elements == kRedisReplyValues;
  return &found;
}

void* RedisClient::on_integer(const redisReadTask* task, long long value) {
  Found& found = static_cast<RedisClient*>(task->privdata)->found_;
  const auto index = static_cast<size_t>(task->idx);
  if (task->parent != nullptr && index < found.values.size()) found.values[index] = value;
  return &found;
}

void* RedisClient::on_nil(const redisReadTask* task) {
  Found& found = static_cast<RedisClient*>(task->privdata)->found_;
  if (task->parent != nullptr) found.is_result = false;
  return &found;
}

}  // namespace txn
