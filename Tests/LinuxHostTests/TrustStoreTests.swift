import Bytes
import CLinux
import Foundation
import TestSupport
import Testing

@testable import LinuxHost

/// A store in a file or folder of its own, which tests change at any moment.
private final class StoreFile {
  private var store: TrustStore
  let url: URL

  /// Files that have just been written are not indexed, unless told.
  init(_ name: String, indexesFreshFiles: Bool = true) throws {
    url = Certificates.shared.folder.appendingPathComponent("index-\(name)")
    var arena = makeArena(byteCount: 16 << 10)
    store = try TrustStore(from: &arena)
    store.use(Array(text: url.path).span)
    if indexesFreshFiles { store.versionAgeMin = .zero }
  }

  /// The version that the file is, or nothing.
  private var version: FileVersion? {
    var status = stat()
    return stat(url.path, &status) == 0 ? FileVersion(status) : nil
  }

  /// Writes into the same file until that shows: the system's clock of files takes its time.
  func write(_ text: String) throws {
    let before = version
    repeat {
      let descriptor = open(url.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
      try #require(descriptor >= 0)
      let bytes = Array(text: text)
      #expect(Foundation.write(descriptor, bytes, bytes.count) == bytes.count)
      close(descriptor)
    } while version == before
  }

  /// The certificates of the store for an issuer; nil if it says that it has none at all. `take` may refuse one.
  func find(_ issuer: [UInt8], _ take: (() -> Bool)? = nil) -> [[UInt8]]? {
    var found: [[UInt8]] = []
    let hasAny = store.find(issuer.span) { certificate in
      found.append(Array(certificate))
      return take?() ?? true
    }
    return hasAny ? found : nil
  }

  /// How much is read to find what `find` does.
  func readCount(of issuer: [UInt8]) -> Int {
    let before = store.readCount
    _ = find(issuer)
    return store.readCount - before
  }
}

@Suite struct TrustStoreTests {
  private let pki = Certificates.shared

  private func pem(_ identities: Identity...) throws -> String {
    try identities.map { try String(contentsOfFile: $0.certificate, encoding: .utf8) }.joined()
  }

  private func der(_ identity: Identity) throws -> [UInt8] {
    let body = try pem(identity).split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined()
    return Array(try #require(Data(base64Encoded: body)))
  }

  private func subject(_ identity: Identity) throws -> [UInt8] {
    let certificate = try der(identity)
    let range = DER.subject(of: certificate.span)
    return Array(certificate[try #require(range)])
  }

  @Test func readsALargeFileOnce() throws {
    let store = try StoreFile("once")
    try store.write("# comment\n" + String(repeating: try pem(pki.rsa), count: 200) + (try pem(pki.root, pki.between)))
    let issuer = try subject(pki.root)
    let nobody = try subject(pki.wildcard)
    let root = try der(pki.root)
    #expect(store.readCount(of: issuer) > 100)
    for _ in 0..<3 {
      #expect(store.find(issuer) == [root])
      #expect(store.readCount(of: issuer) < 4)
    }
    #expect(store.find(try subject(pki.between)) == [try der(pki.between)])
    #expect(try store.readCount(of: subject(pki.between)) < 4)
    // Nobody of that name is there, and there are certificates nevertheless.
    #expect(store.find(nobody) == [])
    #expect(store.readCount(of: nobody) == 0)
  }

  @Test func findsAllOfOneNameInTheirOrder() throws {
    let store = try StoreFile("names")
    try store.write(try pem(pki.impostor, pki.rsa, pki.root, pki.between, pki.formerRoot))
    let expected = [try der(pki.impostor), try der(pki.root), try der(pki.formerRoot)]
    for _ in 0..<3 { #expect(store.find(try subject(pki.root)) == expected) }
    // No more than are tried, and no fewer than can be used.
    try store.write(String(repeating: try pem(pki.root), count: 10))
    for _ in 0..<2 { #expect(store.find(try subject(pki.root))?.count == TrustStore.foundMax) }
    for _ in 0..<2 { #expect(store.find(try subject(pki.root), { false })?.count == 10) }
  }

  @Test func seesTheSameCertificatesInAnotherOrder() throws {
    let store = try StoreFile("order")
    // As long as before: only the time of the change tells.
    for turn in 0..<4 {
      try store.write(turn % 2 == 0 ? pem(pki.root, pki.between, pki.rsa) : pem(pki.rsa, pki.between, pki.root))
      for _ in 0..<2 {
        #expect(store.find(try subject(pki.root)) == [try der(pki.root)])
        #expect(store.find(try subject(pki.between)) == [try der(pki.between)])
      }
    }
  }

  @Test func seesAnotherCertificateOfThatName() throws {
    let store = try StoreFile("other")
    for identity in [pki.root, pki.impostor, pki.formerRoot] {
      try store.write(try pem(pki.between, identity))
      for _ in 0..<2 { #expect(store.find(try subject(pki.root)) == [try der(identity)]) }
    }
    try store.write(try pem(pki.between))
    for _ in 0..<2 { #expect(store.find(try subject(pki.root)) == []) }
  }

  @Test func seesAFileInThePlaceOfAnother() throws {
    let store = try StoreFile("place")
    try store.write(try pem(pki.root, pki.between))
    for _ in 0..<2 { #expect(store.find(try subject(pki.root)) == [try der(pki.root)]) }
    // Of the same length and, up to what Foundation makes of it, of the same time.
    let place = store.url.path
    let old = try FileManager.default.attributesOfItem(atPath: place)
    try (try pem(pki.between, pki.root)).write(toFile: place + ".new", atomically: false, encoding: .utf8)
    let date = try #require(old[.modificationDate])
    try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: place + ".new")
    #expect(rename(place + ".new", place) == 0)
    for _ in 0..<2 { #expect(store.find(try subject(pki.root)) == [try der(pki.root)]) }
    try FileManager.default.removeItem(at: store.url)
    #expect(store.find(try subject(pki.root)) == nil)
    try store.write("nothing in here\n")
    for _ in 0..<2 { #expect(store.find(try subject(pki.root)) == nil) }
    try store.write(try pem(pki.root))
    #expect(store.find(try subject(pki.root)) == [try der(pki.root)])
  }

  @Test func passesOverWhatIsDamaged() throws {
    let store = try StoreFile("damaged")
    let damaged = try pem(pki.root).replacingOccurrences(of: "MII", with: "M!I")
    try store.write(damaged + (try pem(pki.between)) + "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
    for _ in 0..<2 {
      #expect(store.find(try subject(pki.root)) == [])
      #expect(store.find(try subject(pki.between)) == [try der(pki.between)])
    }
    try store.write(damaged + (try pem(pki.root)))
    for _ in 0..<2 { #expect(store.find(try subject(pki.root)) == [try der(pki.root)]) }
    // What breaks off is none, whether there are others or not.
    try store.write(String(try pem(pki.root).dropLast(40)))
    for _ in 0..<2 { #expect(store.find(try subject(pki.root)) == nil) }
  }

  @Test func doesNotTrustAnIndexThatIsWrong() throws {
    let store = try StoreFile("wrong")
    // What is in front moves the rest by half a certificate, in a file as long as before.
    let strangers = try pem(pki.rsa)
    let half = String(repeating: "#", count: strangers.utf8.count / 2) + "\n"
    let (issuer, root) = (try subject(pki.root), try pem(pki.root))
    try store.write(try pem(pki.impostor) + strangers + root)
    #expect(store.find(issuer)?.count == 2)
    // The file changes when the first of the two has been read.
    var isChanged = false
    let found = store.find(issuer) {
      guard !isChanged else { return true }
      isChanged = true
      try? store.write(half + root + strangers)
      return false
    }
    #expect(found == [try der(pki.impostor), try der(pki.root)])
    for _ in 0..<2 { #expect(store.find(issuer) == [try der(pki.root)]) }
  }

  @Test func findsOneInAFileThatIsTooLargeForAnIndex() throws {
    let store = try StoreFile("large")
    let strangers = String(repeating: try pem(pki.between), count: TrustIndex.certificatesMax)
    try store.write(strangers + (try pem(pki.root)))
    for _ in 0..<3 { #expect(store.find(try subject(pki.root)) == [try der(pki.root)]) }
  }

  @Test func keepsNoIndexOfAFileThatHasJustChanged() throws {
    let store = try StoreFile("fresh", indexesFreshFiles: false)
    try store.write(try pem(pki.root))
    let issuer = try subject(pki.root)
    for _ in 0..<2 { #expect(store.readCount(of: issuer) > 0) }
    #expect(store.readCount(of: [0x30, 0]) > 0)
  }

  @Test func keepsNoIndexOfAFolder() throws {
    let store = try StoreFile("folder")
    try FileManager.default.createDirectory(at: store.url, withIntermediateDirectories: true)
    let add = { (name: String, identity: Identity) in
      try (try pem(identity)).write(
        to: store.url.appendingPathComponent(name), atomically: false, encoding: .utf8)
    }
    try add("a.pem", pki.between)
    for _ in 0..<2 { #expect(store.find(try subject(pki.root)) == []) }
    try add("b.pem", pki.root)
    for _ in 0..<2 { #expect(store.find(try subject(pki.root)) == [try der(pki.root)]) }
    try add("b.pem", pki.impostor)
    #expect(store.find(try subject(pki.root)) == [try der(pki.impostor)])
  }

  /// RFC 5280 7.1, as `comparesNamesAsAuthoritiesWriteThem` has it.
  @Test func findsANameThatIsWrittenOtherwise() throws {
    let store = try StoreFile("otherwise")
    try store.write(try pem(pki.between, pki.root))
    let issuer = try subject(pki.root)
    // UTF8String is what openssl writes.
    let other = Array(issuer.map { $0 == 0x0C ? 0x13 : $0 }.map { $0 == UInt8(ascii: "T") ? UInt8(ascii: "t") : $0 })
    #expect(other != issuer)
    for _ in 0..<2 { #expect(store.find(other) == [try der(pki.root)]) }
  }

  @Test func tellsVersionsOfFilesApart() {
    var status = stat()
    status.st_ctim.tv_sec = 1000
    let version = FileVersion(status)
    let changes: [(inout stat) -> Void] = [
      { $0.st_dev += 1 }, { $0.st_ino += 1 }, { $0.st_size += 1 }, { $0.st_mtim.tv_sec += 1 },
      { $0.st_mtim.tv_nsec += 1 }, { $0.st_ctim.tv_sec += 1 }, { $0.st_ctim.tv_nsec += 1 },
    ]
    for change in changes {
      var other = status
      change(&other)
      #expect(FileVersion(other) != version)
    }
    let isAway = { version.isAway(from: WallTime(milliseconds: $0), by: .seconds(3)) }
    #expect(isAway(1_003_000) && !isAway(1_002_999) && !isAway(1_000_000) && !isAway(997_001) && isAway(997_000))
  }
}
