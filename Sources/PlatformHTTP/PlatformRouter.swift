// The platform's HTTP interface: the page, its live streams, and the REST calls of devices and applications.

import Hummingbird
import PlatformServer
import PlatformService

/// What the routes share.
struct Interface: Sendable {
  let platform: Platform
  let logins = Logins()
}

/// The routes of the platform's HTTP interface.
public func makePlatformRouter(_ platform: Platform) -> Router<BasicRequestContext> {
  let router = Router(options: .autoGenerateHeadEndpoints)
  let interface = Interface(platform: platform)
  router.add(middleware: HeadersMiddleware())
  router.add(middleware: ErrorsMiddleware())
  router.add(middleware: OriginMiddleware())
  router.get("/health") { _, _ in HTTPResponse.Status.ok }
  interface.addPage(to: router)
  interface.addLiveStreams(to: router)
  return router
}
