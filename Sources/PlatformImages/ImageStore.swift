// The firmware images that a platform keeps for its devices: a folder of files. An image is
//
//     ID/NAME      the image, under the path of its URL
//     ID.sha256    its digest, as `sha256sum -c` reads it; written last: without it there is no image
//
// The identifier is a secret of 128 random bits, since whoever knows an image's URL may fetch it: devices have no
// credentials for HTTP downloads.

import Foundation
import Glibc
import Synchronization

/// Bounds of the images.
public enum ImageLimits {
  /// The largest image, in bytes.
  public static let imageBytesMax: Int64 = 512 << 20
  /// Images that are kept; the oldest that nobody needs makes room.
  public static let imagesMax = 16
  /// Uploads at a time.
  public static let uploadsMax = 4
  /// The longest name, in bytes.
  public static let nameBytesMax = 100
}

/// An image that is kept.
public struct StoredImage: Equatable, Sendable {
  /// The secret part of its URL: 32 hexadecimal digits.
  public let id: String
  /// The file's name: letters, digits, `-`, `_` and `.`.
  public let name: String
  /// The size in bytes.
  public let byteCount: Int64
  /// SHA-256 in hexadecimal digits.
  public let digest: String
  /// When it was uploaded, as milliseconds since 1970.
  public let uploaded: Int64
  /// What it says of itself.
  public let content: ImageContent
}

/// What is wrong with an image, or with keeping it.
public enum ImageError: Error, Equatable, Sendable {
  /// No byte came.
  case empty
  /// More than `ImageLimits.imageBytesMax` came.
  case tooLarge
  /// `ImageLimits.uploadsMax` uploads are under way, or all images are needed.
  case noRoom
  /// There is no such image.
  case unknown
  /// The disk refused, with the system's words.
  case disk(String)
}

/// The images of a platform. Its calls wait for the disk.
public final class ImageStore: Sendable {
  private let folder: String
  /// Whether the folder goes with the program.
  private let isTemporary: Bool
  private let state: Mutex<State>
  /// One change of the folder at a time; `state` is not locked while the disk works.
  private let changes = Mutex(())

  private struct State {
    var images: [StoredImage] = []
    var uploadCount = 0
  }

  /// The images in a folder of a platform that keeps what it has; what an interrupted upload left there goes.
  ///
  /// - Parameter folder: the platform's folder; nil for a platform that keeps nothing: its images end with it.
  /// - Throws: `ImageError.disk`.
  public init(in folder: String?) throws(ImageError) {
    isTemporary = folder == nil
    self.folder = (folder ?? NSTemporaryDirectory() + "/mote-platform-" + makeSecret()) + "/images"
    let images = isTemporary ? [] : try ImageStore.load(self.folder)
    state = Mutex(State(images: images))
  }

  /// All images, oldest first.
  public var images: [StoredImage] { state.withLock { $0.images } }

  /// Where the file of an image is; nil for no image.
  public func find(id: String, name: String) -> (image: StoredImage, path: String)? {
    guard let image = images.first(where: { $0.id == id && $0.name == name }) else { return nil }
    return (image, "\(folder)/\(id)/\(name)")
  }

  /// Begins an upload. `name` is changed to one that needs no escaping anywhere.
  ///
  /// - Throws: `noRoom`, `disk`.
  public func begin(name: String) throws(ImageError) -> ImageUpload {
    let isAdmitted = state.withLock { state in
      guard state.uploadCount < ImageLimits.uploadsMax else { return false }
      state.uploadCount += 1
      return true
    }
    guard isAdmitted else { throw .noRoom }
    do throws(ImageError) {
      try makeFolder(folder)
      return try ImageUpload(name: plainName(name), partPath: "\(folder)/.\(makeSecret()).part")
    } catch {
      state.withLock { $0.uploadCount -= 1 }
      throw error
    }
  }

  /// Keeps what was uploaded, unless the same image is here already under the same name: then it gives that one.
  ///
  /// - Parameter isNeeded: whether an image, by its identifier, is on its way to a device and cannot make room.
  /// - Throws: `empty`, `noRoom`, `disk`; the upload is over in any case.
  public func keep(_ upload: ImageUpload, isNeeded: (String) -> Bool) throws(ImageError) -> StoredImage {
    defer { cancel(upload) }
    let digest = try upload.finish()
    return try changes.withLock { _ throws(ImageError) in try add(upload, digest, isNeeded) }
  }

  private func add(
    _ upload: ImageUpload, _ digest: String, _ isNeeded: (String) -> Bool
  ) throws(ImageError) -> StoredImage {
    if let same = images.first(where: { $0.digest == digest && $0.name == upload.name }) { return same }
    while images.count >= ImageLimits.imagesMax {
      guard let oldest = images.first(where: { !isNeeded($0.id) }) else { throw .noRoom }
      try delete(oldest.id)
    }
    let id = makeSecret()
    do {
      try makeFolder("\(folder)/\(id)")
      try FileManager.default.moveItem(atPath: upload.partPath, toPath: "\(folder)/\(id)/\(upload.name)")
      try Data("\(digest)  \(id)/\(upload.name)\n".utf8).write(
        to: URL(fileURLWithPath: "\(folder)/\(id).sha256"), options: .atomic)
    } catch {
      try? FileManager.default.removeItem(atPath: "\(folder)/\(id)")
      throw .disk(words(error))
    }
    guard let image = ImageStore.read(folder, id: id) else { throw .disk("what was written cannot be read") }
    state.withLock { $0.images.append(image) }
    return image
  }

  /// Ends an upload that is not to be kept.
  public func cancel(_ upload: ImageUpload) {
    guard upload.close() else { return }
    state.withLock { $0.uploadCount -= 1 }
  }

  /// Removes an image. A download that is under way goes on.
  ///
  /// - Throws: `unknown`, `disk`.
  public func remove(id: String) throws(ImageError) {
    try changes.withLock { _ throws(ImageError) in
      guard images.contains(where: { $0.id == id }) else { throw .unknown }
      try delete(id)
    }
  }

  private func delete(_ id: String) throws(ImageError) {
    do {
      try FileManager.default.removeItem(atPath: "\(folder)/\(id).sha256")
      try FileManager.default.removeItem(atPath: "\(folder)/\(id)")
    } catch {
      throw .disk(words(error))
    }
    state.withLock { $0.images.removeAll { $0.id == id } }
  }

  /// The platform ends: images that were to end with it go.
  public func close() {
    guard isTemporary else { return }
    try? FileManager.default.removeItem(atPath: (folder as NSString).deletingLastPathComponent)
  }

  // MARK: - Files

  private static func load(_ folder: String) throws(ImageError) -> [StoredImage] {
    let files = FileManager.default
    guard let names = try? files.contentsOfDirectory(atPath: folder) else { return [] }
    var images: [StoredImage] = []
    do {
      for name in names where name.hasSuffix(".sha256") {
        guard let image = read(folder, id: String(name.dropLast(7))) else {
          try files.removeItem(atPath: "\(folder)/\(name)")
          continue
        }
        images.append(image)
      }
      // A folder without a digest is an upload that did not come to its end.
      for name in names where !name.hasSuffix(".sha256") && !images.contains(where: { $0.id == name }) {
        try files.removeItem(atPath: "\(folder)/\(name)")
      }
    } catch {
      throw .disk(words(error))
    }
    return images.sorted { $0.uploaded < $1.uploaded }
  }

  private static func read(_ folder: String, id: String) -> StoredImage? {
    guard let line = FileManager.default.contents(atPath: "\(folder)/\(id).sha256"),
      let text = String(validating: line, as: UTF8.self)
    else { return nil }
    let parts = text.split(separator: "  ", maxSplits: 1)
    guard parts.count == 2, parts[0].count == 64, parts[1].hasPrefix("\(id)/"), parts[1].hasSuffix("\n") else {
      return nil
    }
    let name = String(parts[1].dropFirst(id.count + 1).dropLast())
    guard let attributes = try? FileManager.default.attributesOfItem(atPath: "\(folder)/\(id)/\(name)"),
      let byteCount = attributes[.size] as? Int64, let date = attributes[.modificationDate] as? Date
    else { return nil }
    return StoredImage(
      id: id, name: name, byteCount: byteCount, digest: String(parts[0]),
      uploaded: Int64(date.timeIntervalSince1970 * 1000), content: ImageContent(ofFile: "\(folder)/\(id)/\(name)"))
  }
}

/// An image on its way.
public final class ImageUpload: Sendable {
  /// The name that the image will have.
  public let name: String
  fileprivate let partPath: String
  private let state: Mutex<State>

  private struct State: ~Copyable {
    var file: FileHandle?
    var digest = SHA256Digest()
    var byteCount: Int64 = 0
  }

  fileprivate init(name: String, partPath: String) throws(ImageError) {
    self.name = name
    self.partPath = partPath
    let descriptor = open(partPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .disk(String(cString: strerror(errno))) }
    state = Mutex(State(file: FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)))
  }

  /// Adds bytes.
  ///
  /// - Throws: `tooLarge`, `disk`.
  public func write(_ bytes: [UInt8]) throws(ImageError) {
    try state.withLock { state throws(ImageError) in
      guard state.byteCount + Int64(bytes.count) <= ImageLimits.imageBytesMax else { throw .tooLarge }
      state.byteCount += Int64(bytes.count)
      state.digest.update(bytes)
      do { try state.file?.write(contentsOf: bytes) } catch { throw .disk(words(error)) }
    }
  }

  /// Brings everything to the disk, and gives the digest.
  fileprivate func finish() throws(ImageError) -> String {
    try state.withLock { state throws(ImageError) in
      guard state.byteCount > 0 else { throw .empty }
      do { try state.file?.synchronize() } catch { throw .disk(words(error)) }
      return state.digest.finish()
    }
  }

  /// Closes the file and removes what is not kept; whether it was open.
  fileprivate func close() -> Bool {
    state.withLock { state in
      guard let file = state.file else { return false }
      state.file = nil
      try? file.close()
      try? FileManager.default.removeItem(atPath: partPath)
      return true
    }
  }
}

private func makeFolder(_ path: String) throws(ImageError) {
  do {
    // What is in it is for those who have the URL.
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  } catch {
    throw .disk(words(error))
  }
}

/// 128 random bits in hexadecimal digits.
private func makeSecret() -> String {
  (0..<2).map { _ in
    let digits = String(UInt64.random(in: .min ... .max), radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }.joined()
}

/// A name as a file and in a URL: other characters than letters, digits, `-`, `_` and `.` become `-`, and it does not
/// begin with a dot.
func plainName(_ name: String) -> String {
  let plain = name.map { character -> Character in
    character.isASCII && (character.isLetter || character.isNumber || "-_.".contains(character)) ? character : "-"
  }
  let visible = plain.drop { $0 == "." }.prefix(ImageLimits.nameBytesMax)
  return visible.isEmpty ? "image" : String(visible)
}

/// An error in the system's words, without the paths that Foundation adds.
private func words(_ error: any Error) -> String {
  let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError ?? error as NSError
  return underlying.domain == NSPOSIXErrorDomain
    ? String(cString: strerror(Int32(underlying.code))) : underlying.localizedDescription
}
