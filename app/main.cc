#include "app/cli.h"
#include "app/commands.h"
#include "app/process.h"
#include "app/serve.h"

int main(int argc, char** argv) {
  if (!txn::open_standard_descriptors()) return txn::kExitFailure;
  return txn::run_cli(argc, argv, txn::serve);
}
