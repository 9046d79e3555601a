#pragma once
#include "core/json_writer.h"
