// Firmware images: uploaded by who has an API key, fetched by who has the URL.

import HTTPTypes
import Hummingbird
import NIOCore
import NIOPosix
import PlatformImages
import PlatformProtocol
import PlatformServer
import PlatformService

extension Interface {
  /// Bytes read and sent at a time.
  private static var chunkBytes: Int { 65_536 }

  /// What an operator does with images.
  func addImages(to table: RouteTable) {
    table.on(.get, "/images") { request, context in
      try await application(request, context)
      return jsonResponse(.array(images.images.map(describe)))
    }
    table.on(.post, "/images") { request, context in
      try await application(request, context)
      guard let name = request.parameter("name"), !name.isEmpty else {
        throw ServiceError(.invalid, "'name' in the query is missing: the image's file name.")
      }
      guard request.mediaType == "application/octet-stream" else {
        throw ServiceError(.unsupportedMediaType, "The body is the image, application/octet-stream.")
      }
      return jsonResponse(describe(try await receive(request, name)), status: .created)
    }
    table.on(.delete, "/images/:image") { request, context in
      try await application(request, context)
      let id = try context.name("image")
      try await atDisk { [images] in try images.remove(id: id) }
      return Response(status: .noContent)
    }
  }

  /// What a device fetches.
  func addDownloads(to table: RouteTable) {
    table.on(.get, "/images/:image/:name") { request, context in
      guard
        let found = images.find(
          id: context.parameters.get("image") ?? "", name: context.parameters.get("name") ?? "")
      else { throw ServiceError(.notFound, "There is no such image.") }
      return try await answer(request, context, found.image, found.path)
    }
  }

  private func describe(_ image: StoredImage) -> JSONValue {
    .members([
      "id": .string(image.id), "name": .string(image.name), "size": .integer(image.byteCount),
      "sha256": .string(image.digest), "path": .string("/images/\(image.id)/\(image.name)"),
      "uploaded": timeText(image.uploaded), "bundle": image.content.bundle.map(describe), "damage": damage(image),
    ])
  }

  private func describe(_ bundle: BundleSummary) -> JSONValue {
    .members([
      "text": .string(bundle.words), "kind": .string(bundle.kind), "compatible": .string(bundle.compatible),
      "version": .string(bundle.version),
      "securityVersion": .integer(Int64(bundle.securityVersion)),
      "machine": bundle.machine.isEmpty ? nil : .string(bundle.machine), "created": timeText(bundle.created),
      "imageSize": .integer(bundle.imageByteCount), "keys": .array(bundle.keys.map(JSONValue.string)),
    ])
  }

  private func damage(_ image: StoredImage) -> JSONValue? {
    if case .damagedBundle(let words) = image.content { return .string(words) }
    return nil
  }

  private func receive(_ request: Request, _ name: String) async throws -> StoredImage {
    if let length = request.headers[.contentLength].flatMap(Int64.init), length > ImageLimits.imageBytesMax {
      throw ServiceError(ImageError.tooLarge)
    }
    let needed = await openImageAddresses()
    let upload = try await atDisk { [images] in try images.begin(name: name) }
    do {
      for try await buffer in request.body {
        let bytes = Array(buffer.readableBytesView)
        try await atDisk { try upload.write(bytes) }
      }
      return try await atDisk { [images] in
        try images.keep(upload) { id in needed.contains { $0.contains("/images/\(id)/") } }
      }
    } catch {
      images.cancel(upload)
      throw error
    }
  }

  /// The addresses of images that open requests name.
  private func openImageAddresses() async -> [String] {
    await platform.read(\.requests).filter { !$0.isComplete }.flatMap(\.parameters).filter { $0.name == "uri" }
      .compactMap(\.value.string)
  }

  /// The image, or the part of it that the request asks for (RFC 9110, section 14).
  private func answer(
    _ request: Request, _ context: PlatformContext, _ image: StoredImage, _ path: String
  ) async throws -> Response {
    var headers: HTTPFields = [.contentType: "application/octet-stream", .acceptRanges: "bytes"]
    let range: Range<Int64>
    var status = HTTPResponse.Status.ok
    switch RequestedRange(request.headers[.range], of: image.byteCount) {
    case .whole: range = 0..<image.byteCount
    case .part(let part):
      range = part
      status = .partialContent
      headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(image.byteCount)"
    case .unsatisfiable:
      throw Refusal(
        status: .rangeNotSatisfiable, message: "The image has \(image.byteCount) bytes.",
        headers: [.contentRange: "bytes */\(image.byteCount)"])
    }
    let body = try await FileIO().loadFile(
      path: path, range: Int(range.lowerBound)...Int(range.upperBound - 1), context: context,
      chunkLength: Self.chunkBytes)
    return Response(status: status, headers: headers, body: body)
  }

  /// Does what waits for the disk elsewhere than on the threads that answer.
  private func atDisk<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    do {
      return try await NIOThreadPool.singleton.runIfActive(body)
    } catch let error as ImageError {
      throw ServiceError(error)
    }
  }
}

extension ServiceError {
  fileprivate init(_ error: ImageError) {
    self =
      switch error {
      case .empty: ServiceError(.invalid, "The body is the image: it is empty.")
      case .tooLarge: ServiceError(.tooLarge, "An image has at most \(ImageLimits.imageBytesMax) bytes.")
      case .noRoom:
        ServiceError(
          .unavailable,
          """
          At most \(ImageLimits.uploadsMax) images are uploaded at a time, and \(ImageLimits.imagesMax) kept that \
          devices are to fetch.
          """
        )
      case .unknown: ServiceError(.notFound, "There is no such image.")
      case .disk(let words): ServiceError(.unavailable, "The image cannot be kept: \(words).")
      }
  }
}
