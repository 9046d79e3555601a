// main() of a fuzz target without libFuzzer: feeds it the files of a folder, and of each the first half as well, so
// that whatever once broke it stays mended under any compiler:  NAME_fuzz FOLDER
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void feed(const std::string& bytes, size_t size) {
  // A copy of exactly that size: a sanitizer sees every byte read behind it.
  const auto copy = std::make_unique<uint8_t[]>(size);
  bytes.copy(reinterpret_cast<char*>(copy.get()), size);
  LLVMFuzzerTestOneInput(copy.get(), size);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  feed("", 0);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::printf("%s\n", entry.path().filename().c_str());
    std::fflush(stdout);  // so that the last line names what broke it
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    feed(bytes, bytes.size());
    feed(bytes, bytes.size() / 2);
    ++files;
  }
  if (files == 0) {
    std::fprintf(stderr, "%s has no seeds\n", argv[1]);
    return 1;
  }
  return 0;
}
