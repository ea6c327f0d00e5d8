// Images are there after a restart, and what was not finished is not.

import Foundation
import Testing

@testable import PlatformImages

@Suite struct ImageStoreTests {
  private func inFolder(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.path + "/images-" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }

  private func upload(
    _ store: ImageStore, _ name: String, _ text: String, needed: Set<String> = []
  ) throws -> StoredImage {
    let upload = try store.begin(name: name)
    for byte in text.utf8 { try upload.write([byte]) }
    return try store.keep(upload) { needed.contains($0) }
  }

  @Test func keepsWhatWasUploaded() throws {
    try inFolder { folder in
      let image = try upload(try ImageStore(in: folder), "e7-1.5.0.img", "abc")
      #expect(image.byteCount == 3 && image.id.count == 32)
      #expect(image.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
      let again = try ImageStore(in: folder)
      #expect(again.images.map(\.id) == [image.id] && again.images[0].digest == image.digest)
      let found = try #require(again.find(id: image.id, name: "e7-1.5.0.img"))
      #expect(FileManager.default.contents(atPath: found.path) == Data("abc".utf8))
      #expect(again.find(id: image.id, name: "other") == nil && again.find(id: "other", name: image.name) == nil)
      // Others on this machine do not get to know the secret.
      let mode = try FileManager.default.attributesOfItem(atPath: folder + "/images")[.posixPermissions] as? Int
      #expect(mode == 0o700)
    }
  }

  @Test func sumsAreAsTheToolReadsThem() throws {
    try inFolder { folder in
      let image = try upload(try ImageStore(in: folder), "a.img", "abc")
      let line = FileManager.default.contents(atPath: "\(folder)/images/\(image.id).sha256")
      #expect(line == Data("\(image.digest)  \(image.id)/a.img\n".utf8))
    }
  }

  @Test func theSameImageIsKeptOnce() throws {
    try inFolder { folder in
      let store = try ImageStore(in: folder)
      let first = try upload(store, "a.img", "abc")
      #expect(try upload(store, "a.img", "abc") == first)
      #expect(try upload(store, "b.img", "abc") != first)
      #expect(try upload(store, "a.img", "abd") != first)
      #expect(store.images.count == 3)
    }
  }

  @Test func removesWhatAnInterruptedUploadLeft() throws {
    try inFolder { folder in
      let store = try ImageStore(in: folder)
      let kept = try upload(store, "a.img", "abc")
      let broken = try store.begin(name: "b.img")
      try broken.write([1, 2, 3])
      // The program ends here: a part, a folder without a digest, and a digest without an image.
      try FileManager.default.createDirectory(atPath: "\(folder)/images/0123", withIntermediateDirectories: false)
      try Data("rubbish\n".utf8).write(to: URL(fileURLWithPath: "\(folder)/images/4567.sha256"))
      let again = try ImageStore(in: folder)
      #expect(again.images.map(\.id) == [kept.id])
      let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/images")
      #expect(Set(names) == [kept.id, "\(kept.id).sha256"])
    }
  }

  @Test func theOldestThatNobodyNeedsMakesRoom() throws {
    try inFolder { folder in
      let store = try ImageStore(in: folder)
      var ids: [String] = []
      for number in 0..<ImageLimits.imagesMax { ids.append(try upload(store, "\(number)", "\(number)").id) }
      let newest = try upload(store, "new", "new", needed: [ids[0]])
      #expect(store.images.map(\.id) == [ids[0]] + ids[2...] + [newest.id])
      #expect(throws: ImageError.noRoom) {
        try upload(store, "newer", "newer", needed: Set(store.images.map(\.id)))
      }
      #expect(store.images.count == ImageLimits.imagesMax)
    }
  }

  @Test func boundsUploads() throws {
    try inFolder { folder in
      let store = try ImageStore(in: folder)
      let open = try (0..<ImageLimits.uploadsMax).map { try store.begin(name: "\($0)") }
      #expect(throws: ImageError.noRoom) { try store.begin(name: "more") }
      store.cancel(open[0])
      store.cancel(open[0])
      let next = try store.begin(name: "more")
      #expect(throws: ImageError.empty) { try store.keep(next) { _ in false } }
      #expect(store.images.isEmpty)
      for upload in open { store.cancel(upload) }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/images").isEmpty)
    }
  }

  @Test func removes() throws {
    try inFolder { folder in
      let store = try ImageStore(in: folder)
      let image = try upload(store, "a", "abc")
      try store.remove(id: image.id)
      #expect(store.images.isEmpty && store.find(id: image.id, name: "a") == nil)
      #expect(throws: ImageError.unknown) { try store.remove(id: image.id) }
      #expect(throws: ImageError.unknown) { try store.remove(id: "../../etc") }
    }
  }

  @Test func whatIsTemporaryGoes() throws {
    let store = try ImageStore(in: nil)
    let image = try upload(store, "a", "abc")
    let path = try #require(store.find(id: image.id, name: "a")).path
    #expect(FileManager.default.fileExists(atPath: path))
    store.close()
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test(arguments: [
    ("e7-1.5.0.img", "e7-1.5.0.img"), ("a b/c\\d.img", "a-b-c-d.img"), ("..", "image"), ("", "image"),
    (".hidden", "hidden"), ("ü", "-"), (String(repeating: "x", count: 200), String(repeating: "x", count: 100)),
  ])
  func namesNeedNoEscaping(_ name: String, _ expected: String) {
    #expect(plainName(name) == expected)
  }
}
