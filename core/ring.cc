#include "core/ring.h"

#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <string>
#include <thread>

#include "core/metrics.h"
#include "core/ring_refusal.h"

namespace txn {
namespace {

constexpr int kBufferGroup = 0;

// Bytes that may be read (not written) behind every receive buffer, so that vectorised parsers may look past the end.
constexpr size_t kBufferTail = 64;

// Why there is no ring, for the person who has to mend it.
std::string explain_setup_failure(int error) { return explain_ring_refusal(error, read_ring_environment()); }

class UringRing final : public Ring {
 public:
  UringRing() = default;
  ~UringRing() override {
    if (buffers_ != nullptr) munmap(buffers_, buffers_bytes_);
    if (ring_ready_) io_uring_queue_exit(&ring_);
    if (buffer_ring_ != nullptr) munmap(buffer_ring_, buffer_ring_bytes_);
  }

  Result<void> init(const RingOptions& options) {
    io_uring_params params{};
    // DEFER_TASKRUN runs completions only when this thread enters the kernel for them, so nothing interrupts a turn;
    // SUBMIT_ALL keeps a bad request from holding up the ones behind it. NO_SQARRAY is never set: liburing 2.3 would
    // write its identity map over the ring's head and tail.
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                   IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = options.completion_entries;
    const int error = io_uring_queue_init_params(options.submission_entries, &ring_, &params);
    if (error < 0) return fail(ErrorKind::kSystem, explain_setup_failure(-error));
    ring_ready_ = true;
    if ((params.features & IORING_FEAT_NODROP) == 0) return fail(ErrorKind::kSystem, explain_setup_failure(EINVAL));
    io_uring_ring_dontfork(&ring_);
    io_uring_register_ring_fd(&ring_);
    if (auto ready = init_buffers(options); !ready) return ready;
    // The first turn would be too late to find out that a filter lets rings be made but not entered.
    if (const int entered = io_uring_get_events(&ring_); entered < 0)
      return fail(ErrorKind::kSystem, explain_setup_failure(-entered));
    return {};
  }

  void accept(int listener, Completion& completion) override {
    io_uring_sqe* sqe = next_sqe(completion);
    io_uring_prep_multishot_accept(sqe, listener, nullptr, nullptr, SOCK_CLOEXEC);
    io_uring_sqe_set_data(sqe, &completion);
  }

  void receive(int socket, Completion& completion) override {
    io_uring_sqe* sqe = next_sqe(completion);
    io_uring_prep_recv_multishot(sqe, socket, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = kBufferGroup;
    io_uring_sqe_set_data(sqe, &completion);
  }

  void send(int socket, std::span<const char> bytes, Completion& completion) override {
    io_uring_sqe* sqe = next_sqe(completion);
    io_uring_prep_send(sqe, socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, &completion);
  }

  void connect(int socket, const sockaddr* address, uint32_t length, Completion& completion) override {
    io_uring_sqe* sqe = next_sqe(completion);
    io_uring_prep_connect(sqe, socket, address, length);
    io_uring_sqe_set_data(sqe, &completion);
  }

  void receive_into(int socket, std::span<char> bytes, Completion& completion) override {
    io_uring_sqe* sqe = next_sqe(completion);
    io_uring_prep_recv(sqe, socket, bytes.data(), bytes.size(), 0);
    io_uring_sqe_set_data(sqe, &completion);
  }

  void poll(int descriptor, uint32_t events, Completion& completion) override {
    io_uring_sqe* sqe = next_sqe(completion);
    io_uring_prep_poll_add(sqe, descriptor, events);
    io_uring_sqe_set_data(sqe, &completion);
  }

  void cancel(Completion& completion) override {
    if (!completion.in_flight()) return;
    io_uring_sqe* sqe = free_sqe();
    io_uring_prep_cancel(sqe, &completion, 0);
    // The cancel's own event says nothing that the cancelled request's does not (-ENOENT and -EALREADY both mean: its
    // event is on its way), so it is delivered to nobody.
    io_uring_sqe_set_data(sqe, nullptr);
  }

  void submit_and_wait(int64_t timeout_ns) override {
    assert_owner();
    enter(timeout_ns);
    // The kernel keeps events that did not fit aside; peeking at an empty queue enters it again and fetches them.
    if ((IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0) ++overflows_;
  }

  size_t deliver(size_t most) override {
    size_t events = 0;
    io_uring_cqe* cqe = nullptr;
    while (events < most && io_uring_peek_cqe(&ring_, &cqe) == 0) {
      handle(*cqe);
      ++events;
    }
    return events;
  }

  uint32_t free_buffers() const override {
    const unsigned waiting = io_uring_cq_ready(&ring_);  // each may hold one
    return waiting < buffer_count_ ? buffer_count_ - waiting : 0;
  }
  uint64_t overflows() const override { return overflows_; }

 private:
  Result<void> init_buffers(const RingOptions& options) {
    CHECK(std::has_single_bit(options.buffer_count) && options.buffer_count <= 32768, "buffer_count: a power of two");
    buffer_count_ = options.buffer_count;
    buffer_size_ = options.buffer_size;
    buffer_ring_bytes_ = buffer_count_ * sizeof(io_uring_buf);
    void* ring_memory = mmap(nullptr, buffer_ring_bytes_, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (ring_memory == MAP_FAILED) return fail_errno("mmap of the receive buffer ring", errno);
    buffer_ring_ = static_cast<io_uring_buf_ring*>(ring_memory);
    buffers_bytes_ = size_t{buffer_count_} * buffer_size_ + kBufferTail;
    void* memory = mmap(nullptr, buffers_bytes_, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED) return fail_errno("mmap of the receive buffers", errno);
    buffers_ = static_cast<char*>(memory);

    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uint64_t>(buffer_ring_);
    registration.ring_entries = buffer_count_;
    registration.bgid = kBufferGroup;
    if (const int error = io_uring_register_buf_ring(&ring_, &registration, 0); error < 0)
      return fail(ErrorKind::kSystem, explain_setup_failure(-error));
    io_uring_buf_ring_init(buffer_ring_);
    for (uint32_t i = 0; i < buffer_count_; ++i)
      io_uring_buf_ring_add(buffer_ring_, buffers_ + size_t{i} * buffer_size_, buffer_size_, static_cast<uint16_t>(i),
                            io_uring_buf_ring_mask(buffer_count_), static_cast<int>(i));
    io_uring_buf_ring_advance(buffer_ring_, static_cast<int>(buffer_count_));
    return {};
  }

  void give_back(uint16_t id) {
    io_uring_buf_ring_add(buffer_ring_, buffers_ + size_t{id} * buffer_size_, buffer_size_, id,
                          io_uring_buf_ring_mask(buffer_count_), 0);
    io_uring_buf_ring_advance(buffer_ring_, 1);
  }

  io_uring_sqe* next_sqe(Completion& completion) {
    io_uring_sqe* sqe = free_sqe();
    mark_submitted(completion);
    return sqe;
  }

  // Never drops a request: a full submission queue is submitted on the spot.
  io_uring_sqe* free_sqe() {
    assert_owner();
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {
      const int submitted = io_uring_submit(&ring_);
      CHECK(submitted >= 0 || submitted == -EBUSY || submitted == -EAGAIN || submitted == -EINTR,
            "io_uring_submit failed");
      sqe = io_uring_get_sqe(&ring_);
    }
    return sqe;
  }

  void enter(int64_t timeout_ns) {
    int result = 0;
    if (timeout_ns == 0) {
      result = io_uring_submit_and_get_events(&ring_);
    } else if (timeout_ns < 0) {
      result = io_uring_submit_and_wait(&ring_, 1);
    } else {
      __kernel_timespec wait{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
      io_uring_cqe* cqe = nullptr;
      result = io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &wait, nullptr);
    }
    // EBUSY and EAGAIN: the kernel wants its completions taken first; ETIME and EINTR are ordinary.
    CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY || result == -EAGAIN,
          "io_uring_enter failed");
  }

  void handle(const io_uring_cqe& entry) {
    const uint64_t user_data = entry.user_data;
    const int32_t result = entry.res;
    const uint32_t flags = entry.flags;
    // Copied and released before the callback: it may queue requests, and a full queue of completions would make the
    // kernel end multishots.
    io_uring_cq_advance(&ring_, 1);
    auto* completion = reinterpret_cast<Completion*>(user_data);
    CompletionEvent event{.result = result, .more = (flags & IORING_CQE_F_MORE) != 0, .data = {}};
    // The flag, not the result, says whether a buffer came along: an error may carry one.
    const bool has_buffer = (flags & IORING_CQE_F_BUFFER) != 0;
    const auto buffer_id = static_cast<uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    if (has_buffer && result > 0)
      event.data = {buffers_ + size_t{buffer_id} * buffer_size_, static_cast<size_t>(result)};
    if (completion != nullptr) complete(*completion, event);
    if (has_buffer) give_back(buffer_id);
  }

  void assert_owner() const {
    CHECK(std::this_thread::get_id() == owner_, "a ring is used by the thread that created it only");
  }

  const std::thread::id owner_ = std::this_thread::get_id();
  io_uring ring_{};
  bool ring_ready_ = false;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  size_t buffer_ring_bytes_ = 0;
  char* buffers_ = nullptr;
  size_t buffers_bytes_ = 0;
  uint32_t buffer_count_ = 0;
  uint32_t buffer_size_ = 0;
  Counter overflows_;
};

}  // namespace

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions& options) {
  auto ring = std::make_unique<UringRing>();
  if (auto ready = ring->init(options); !ready) return std::unexpected(std::move(ready.error()));
  return ring;
}

}  // namespace txn
