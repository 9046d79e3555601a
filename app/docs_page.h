// The page that the `type` of every error leads to: GET /api/v1/docs#ERROR_CODE.
#pragma once

#include <string_view>

namespace txn {

inline constexpr std::string_view kHtmlContentType = "text/html; charset=utf-8";

// All errors of app/problem.cc in one table: code, status, title, meaning, what to do. HTML without scripts and styles,
// as the service's own Content-Security-Policy wants it. Made once; lives as long as the process; any thread.
std::string_view docs_page();

}  // namespace txn
