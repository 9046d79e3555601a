#include "app/cli.h"
#include "app/serve.h"

int main(int argc, char** argv) { return txn::run_cli(argc, argv, txn::serve); }
