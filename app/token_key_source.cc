#include "app/token_key_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "core/check.h"
#include "core/concat.h"
#include "core/log.h"

namespace txn {
namespace {

constexpr const char* kLogger = "app.token_key_source";

// A file written twice within the resolution of its times looks the same after both, so a young one is read again.
constexpr time_t kYoungSeconds = 2;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

bool is_same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

bool TokenKeySource::FileState::operator==(const FileState& other) const {
  return device == other.device && inode == other.inode && size == other.size &&
         is_same_time(modified, other.modified) && is_same_time(changed, other.changed);
}

TokenKeySource::TokenKeySource(const Settings& settings)
    : algorithm_(settings.jwt_algorithm),
      kind_(Kind::kSecret),
      setting_("JWT_SECRET_KEY"),
      pins_use_secret_(settings.pin_secret_key.empty()) {
  if (algorithm_ == JwtAlgorithm::kHs256) {
    text_ = settings.jwt_secret_key;
  } else if (!settings.jwt_jwks_file.empty()) {
    kind_ = Kind::kJwks;
    setting_ = "JWT_JWKS_FILE";
    path_ = settings.jwt_jwks_file;
  } else {
    kind_ = Kind::kPem;
    setting_ = "JWT_PUBLIC_KEY_FILE";
    path_ = settings.jwt_public_key_file;
  }
}

std::string TokenKeySource::where() const { return concat(setting_, ": ", path_, ": "); }

Result<void> TokenKeySource::load() {
  if (kind_ == Kind::kSecret) {
    const auto keys = parse(text_);
    if (!keys) return std::unexpected(keys.error());
    return {};
  }
  const auto taken = take_over();
  if (!taken) return std::unexpected(taken.error());
  return {};
}

std::unique_ptr<TokenKeys> TokenKeySource::make_keys() const {
  auto keys = parse(text_);
  CHECK(keys.has_value(), "this text has been read before");
  return std::move(*keys);
}

Result<std::unique_ptr<TokenKeys>> TokenKeySource::parse(const std::string& text) const {
  switch (kind_) {
    case Kind::kSecret:
      return TokenKeys::from_secret(text);
    case Kind::kPem:
      return TokenKeys::from_pem(algorithm_, text);
    case Kind::kJwks:
      return TokenKeys::from_jwks(algorithm_, text);
  }
  std::unreachable();
}

Result<std::string> TokenKeySource::read_file() {
  // Not to wait for a writer, should it be a pipe.
  const Descriptor file(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info{};
  if (file.get() < 0 || fstat(file.get(), &info) != 0) return fail_errno(concat(setting_, ": ", path_).c_str(), errno);
  if (!S_ISREG(info.st_mode)) return fail(ErrorKind::kInvalidArgument, where() + "is not a regular file");
  // From before the reading: whatever is written meanwhile makes a difference.
  looked_at_ = {info.st_dev, info.st_ino, info.st_size, info.st_mtim, info.st_ctim};

  std::string text(kKeyFileBytesMax + 1, '\0');
  size_t length = 0;
  while (length < text.size()) {
    const ssize_t count = read(file.get(), text.data() + length, text.size() - length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(concat(setting_, ": ", path_).c_str(), errno);
    if (count == 0) break;
    length += static_cast<size_t>(count);
  }
  text.resize(length);
  return text;
}

Result<bool> TokenKeySource::take_over() {
  auto text = read_file();
  if (!text) return std::unexpected(std::move(text.error()));
  if (*text == text_) return false;
  const auto keys = parse(*text);
  if (!keys) return fail(keys.error().kind, where() + keys.error().message);
  text_ = std::move(*text);
  return true;
}

void TokenKeySource::log_keys() const {
  const auto keys = make_keys();
  for (const std::string& reason : keys->skipped()) {
    LOG(kWarning, kLogger, "A key of the set is passed over").field("setting", setting_).field("reason", reason);
  }
  for (const std::string& which : keys->shared_ids()) {
    LOG(kWarning, kLogger, "Different keys of the set have the same kid; each is tried")
        .field("setting", setting_)
        .field("reason", which);
  }
  LOG(kInfo, kLogger, "Tokens are held against these keys")
      .field("setting", setting_)
      .field("algorithm", to_string(algorithm_))
      .field("keys", static_cast<int64_t>(keys->size()));
}

bool TokenKeySource::poll() {
  if (kind_ == Kind::kSecret) return false;
  struct stat info{};
  std::optional<FileState> state;
  bool is_young = false;
  if (stat(path_.c_str(), &info) == 0) {
    state = {info.st_dev, info.st_ino, info.st_size, info.st_mtim, info.st_ctim};
    is_young = info.st_ctim.tv_sec + kYoungSeconds >= time(nullptr);
  }
  const bool is_same = state == looked_at_;
  if (is_same && !is_young) return false;
  looked_at_ = state;
  const auto taken = take_over();
  if (taken) {
    last_failure_.clear();
    if (*taken) {
      ++counters_.replaced;
      log_keys();
    }
    return *taken;
  }
  // Once for each new state, not once a second.
  if (!is_same || taken.error().message != last_failure_) {
    last_failure_ = taken.error().message;
    ++counters_.failed;
    LOG(kError, kLogger, "The file of token keys has changed and cannot be used; the old keys stay")
        .field("exception", last_failure_);
  }
  return false;
}

Result<bool> TokenKeySource::reload(const Settings& now) {
  const TokenKeySource other(now);
  if (other.algorithm_ != algorithm_ || other.kind_ != kind_ || other.path_ != path_) {
    return fail(ErrorKind::kInvalidArgument,
                "JWT_ALGORITHM and the name of the key file are what they were at the start");
  }
  Result<bool> taken = false;
  if (kind_ != Kind::kSecret) {
    taken = take_over();
  } else if (now.jwt_secret_key != text_) {
    if (pins_use_secret_) {
      taken = fail(ErrorKind::kInvalidArgument,
                   "JWT_SECRET_KEY has changed, but PINs are hashed with it: set PIN_SECRET_KEY, and restart");
    } else if (auto keys = parse(now.jwt_secret_key); !keys) {
      taken = std::unexpected(std::move(keys.error()));
    } else {
      text_ = now.jwt_secret_key;
      taken = true;
    }
  }
  last_failure_ = taken ? "" : taken.error().message;
  if (!taken) {
    ++counters_.failed;
  } else if (*taken) {
    ++counters_.replaced;
    log_keys();
  }
  return taken;
}

}  // namespace txn
