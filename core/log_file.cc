#include "core/log_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/log.h"

namespace txn {
namespace {

constexpr std::string_view kFileName = "app.json.log";
constexpr mode_t kFileMode = 0640;  // account numbers are nobody else's business

// How many of `lines` bytes are whole lines within `limit` bytes.
size_t whole_lines_within(std::string_view lines, size_t limit) {
  if (lines.size() <= limit) return lines.size();
  const size_t last = lines.substr(0, limit).rfind('\n');
  return last == std::string_view::npos ? 0 : last + 1;
}

}  // namespace

LogFile::LogFile(LogFileOptions options)
    : options_(std::move(options)), path_(options_.directory + "/" + std::string(kFileName)) {}

LogFile::~LogFile() {
  close();
  if (directory_ >= 0) ::close(directory_);
}

void LogFile::append(std::string_view lines, int64_t now_ns) {
  if (options_.directory.empty()) return;
  if (descriptor_ < 0) {
    if (now_ns < retry_at_ns_) return drop(lines);
    if (const Result<void> opened = open(); !opened) {
      failed(opened.error(), now_ns);
      return drop(lines);
    }
  }
  while (!lines.empty()) {
    size_t fits = lines.size();
    if (options_.backup_count > 0 && now_ns >= rotate_at_ns_) {
      fits = whole_lines_within(lines, static_cast<size_t>(std::max<int64_t>(0, options_.max_bytes - size_)));
      if (fits == 0 && size_ > 0) {
        rotate(now_ns);
        if (descriptor_ < 0) return drop(lines);
        continue;
      }
      // One line alone that is larger than a file may be: better there than nowhere.
      if (fits == 0) fits = std::min(lines.find('\n'), lines.size() - 1) + 1;
    }
    if (const Result<void> written = write_lines(lines.substr(0, fits)); !written) {
      failed(written.error(), now_ns);
      return drop(lines.substr(fits));
    }
    lines.remove_prefix(fits);
  }
  if (now_ns >= rotate_at_ns_ && std::exchange(complained_, false))
    LOG(kInfo, "core.log", "The log file is written again")
        .field("file", path_)
        .field("lines_missing", counters_.lines_dropped);
}

void LogFile::reopen() {
  close();
  retry_at_ns_ = rotate_at_ns_ = INT64_MIN;
}

Result<void> LogFile::open() {
  std::error_code error;
  std::filesystem::create_directories(options_.directory, error);  // open() below says what is wrong with it
  if (auto taken = take_directory(); !taken) return taken;
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, kFileMode);
  if (descriptor_ < 0) return fail_errno(path_.c_str(), error ? error.value() : errno);
  struct stat status{};
  size_ = fstat(descriptor_, &status) == 0 ? status.st_size : 0;
  // A process that died in the middle of a line keeps that to itself.
  char last = '\n';
  if (size_ > 0 && ::pread(descriptor_, &last, 1, size_ - 1) == 1 && last != '\n')
    size_ += ::write(descriptor_, "\n", 1);
  return {};
}

// Where the directory cannot be locked, as on some network file systems, nobody is kept out.
Result<void> LogFile::take_directory() {
  if (directory_ >= 0) return {};
  const int directory = ::open(options_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return {};
  if (::flock(directory, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(directory);
    return fail(ErrorKind::kUnavailable,
                options_.directory + " is another process's LOG_DIR: give each service one of its own");
  }
  directory_ = directory;
  return {};
}

void LogFile::close() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

// All of `lines`, or a prefix of whole lines and an error; what was not written has been counted then.
Result<void> LogFile::write_lines(std::string_view lines) {
  size_t done = 0;
  while (done < lines.size()) {
    const ssize_t written = ::write(descriptor_, lines.data() + done, lines.size() - done);
    if (written > 0) {
      done += static_cast<size_t>(written);
      continue;
    }
    if (written < 0 && errno == EINTR) continue;
    const int error = written < 0 ? errno : EIO;
    const size_t whole = whole_lines_within(lines, done);
    // What there is of the line after them goes again; if even that fails, the next one begins on a line of its own.
    if (whole < done && ftruncate(descriptor_, size_ + static_cast<int64_t>(whole)) != 0) ++counters_.errors;
    counters_.bytes += whole;
    drop(lines.substr(whole));
    return fail_errno(path_.c_str(), error);
  }
  size_ += static_cast<int64_t>(done);
  counters_.bytes += done;
  return {};
}

// Leaves the file open and empty; or open as it was when it cannot be renamed, which then is tried again later; or
// closed.
void LogFile::rotate(int64_t now_ns) {
  for (int number = options_.backup_count - 1; number >= 0; --number) {
    const std::string from = number == 0 ? path_ : backup_path(number);
    if (::rename(from.c_str(), backup_path(number + 1).c_str()) == 0 || errno == ENOENT) continue;
    complain(fail_errno(from.c_str(), errno).error());
    rotate_at_ns_ = now_ns + kRetryNs;  // until then the file grows beyond its size
    return;
  }
  close();
  if (const Result<void> opened = open(); !opened) return failed(opened.error(), now_ns);
  ++counters_.rotations;
}

// A descriptor that has failed is not trusted further: the volume may have been mounted anew, the file taken away.
void LogFile::failed(const Error& error, int64_t now_ns) {
  retry_at_ns_ = now_ns + kRetryNs;
  close();
  complain(error);
}

void LogFile::complain(const Error& error) {
  ++counters_.errors;
  if (!std::exchange(complained_, true))
    LOG(kError, "core.log", "The log file cannot be written; standard error has all lines; trying on")
        .field("exception", error.message);
}

void LogFile::drop(std::string_view lines) {
  counters_.lines_dropped += static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
}

std::string LogFile::backup_path(int number) const { return path_ + "." + std::to_string(number); }

}  // namespace txn
