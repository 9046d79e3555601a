// GET /api/v1/docs: no token, for it says nothing about anybody.
#include "app/docs_page.h"
#include "app/routes.h"

namespace txn {

Task<void> handle_docs(Context&, Exchange& exchange, RouteMatch, Principal) {
  exchange.respond({.content_type = kHtmlContentType, .body = docs_page()});
  co_return;
}

}  // namespace txn
