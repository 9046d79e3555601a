// Where the keys of tokens come from: the secret among the settings, or the file that they name. The file may be
// replaced while the service runs; whoever owns the source looks for that now and then.
//
// A file is taken over as a whole or not at all: while it is missing, unreadable or of no use, the keys stay what they
// were and the log says why, once. Neither logs nor errors show anything of its content.
#pragma once

#include <sys/types.h>

#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "app/token_keys.h"
#include "core/config.h"
#include "core/error.h"
#include "core/metrics.h"

namespace txn {

struct TokenKeySourceCounters {
  Counter replaced;  // new keys were taken over
  Counter failed;    // a new file was not
};

// Blocking, so not for workers. Everything but counters() is for one thread, the main one.
class TokenKeySource {
 public:
  explicit TokenKeySource(const Settings& settings);

  // The first reading. Errors name the setting and the file.
  Result<void> load();

  // The keys as last read, once more for each caller: every worker has its own. REQUIRES: load() has succeeded.
  std::unique_ptr<TokenKeys> make_keys() const;

  // Says in the log how many keys there are, and which of a set are passed over. REQUIRES: as above.
  void log_keys() const;

  // Looks whether the file has changed, by its inode, size and times, and reads it if so. True: make_keys() has new
  // ones. A system call as long as nothing has changed.
  bool poll();

  // Reads again, whatever the file looks like, or takes the secret out of `now`. True as for poll(). kInvalidArgument
  // when the algorithm or the name of the file is another than at the start, and when the secret has changed but PINs
  // are hashed with it (no PIN_SECRET_KEY): the new one would void every PIN.
  Result<bool> reload(const Settings& now);

  const TokenKeySourceCounters& counters() const { return counters_; }

 private:
  enum class Kind { kSecret, kPem, kJwks };

  // What tells one state of a file from the next.
  struct FileState {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    timespec modified{};
    timespec changed{};
    bool operator==(const FileState& other) const;
  };

  Result<std::unique_ptr<TokenKeys>> parse(const std::string& text) const;
  // Notes in looked_at_ what it has read.
  Result<std::string> read_file();
  // Reads the file and makes its keys those in use. False when they are that already.
  Result<bool> take_over();
  std::string where() const;

  JwtAlgorithm algorithm_;
  Kind kind_;
  std::string setting_;  // JWT_JWKS_FILE
  std::string path_;
  bool pins_use_secret_;
  std::string text_;                    // that the keys in use were made of; with kSecret a secret itself
  std::optional<FileState> looked_at_;  // nothing: the file was not there
  std::string last_failure_;
  TokenKeySourceCounters counters_;
};

}  // namespace txn
