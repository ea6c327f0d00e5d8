// The platform's HTTP interface: the page, its live streams, and the REST calls of devices and applications.

import Hummingbird
import Logging
import PlatformImages
import PlatformServer
import PlatformService

/// What the routes share.
struct Interface: Sendable {
  let platform: ServiceActor
  let images: ImageStore
  let check: CredentialCheck
  let logins = Logins()
}

/// The routes of the platform's HTTP interface.
public func makePlatformRouter(
  _ platform: ServiceActor, names: HostNames, images: ImageStore, logger: Logger
) -> Router<PlatformContext> {
  let router = Router(context: PlatformContext.self, options: .autoGenerateHeadEndpoints)
  let interface = Interface(platform: platform, images: images, check: CredentialCheck(logger: logger))
  router.add(middleware: HeadersMiddleware())
  router.add(middleware: ErrorsMiddleware())
  router.add(middleware: OriginMiddleware(names: names))
  router.get("/health") { _, _ in HTTPResponse.Status.ok }
  interface.addFiles(to: RouteTable(router))
  interface.addOwn(to: RouteTable(router, prefix: "/api"))
  interface.addStandard(to: RouteTable(router, prefix: "/api/v0002"))
  return router
}

extension Interface {
  /// What is at the top: the page's files, and images.
  fileprivate func addFiles(to table: RouteTable) {
    addPage(to: table)
    addDownloads(to: table)
    table.refuseOtherMethods()
  }

  /// What only the page asks for.
  fileprivate func addOwn(to table: RouteTable) {
    addLiveStreams(to: table)
    addLogins(to: table)
    addImages(to: table)
    table.refuseOtherMethods()
  }

  /// The calls of the protocol.
  fileprivate func addStandard(to table: RouteTable) {
    addMessaging(to: table)
    addTypes(to: table)
    addDevices(to: table)
    addDeviceParts(to: table)
    addRequests(to: table)
    addBundles(to: table)
    addConnections(to: table)
    addKeys(to: table)
    addUsage(to: table)
    table.refuseOtherMethods()
  }
}
