// The platform's HTTP interface.

import Hummingbird
import PlatformServer
import PlatformService

/// The routes of the platform's HTTP interface.
public func makePlatformRouter(_ platform: Platform) -> Router<BasicRequestContext> {
  let router = Router()
  router.get("/health") { _, _ in HTTPResponse.Status.ok }
  return router
}
