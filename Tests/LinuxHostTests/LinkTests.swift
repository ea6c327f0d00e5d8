import Bytes
import HostInterface
import TestSupport
import Testing

@testable import LinuxHost

@Suite struct LinkTests {
  @Test func movesBytesBothWays() throws {
    let listener = Listener()
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    #expect(driver.open() == .open)
    let peer = listener.accept()
    #expect(driver.sendAll(Array(text: "hello")) == .moved(5))
    #expect(peer.receive(5).text == "hello")
    peer.send(Array(text: "good day"))
    #expect(driver.receive(8).bytes.text == "good day")
    #expect(driver.description == " address=127.0.0.1:\(listener.port)")
    #expect(driver.deadline == .never)
  }

  @Test func isClosedBeforeAndAfter() throws {
    let listener = Listener()
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    #expect(driver.poll() == .closed)
    driver.link.close()
    driver.open()
    driver.link.close()
    #expect(driver.poll() == .closed)
    driver.link.close()
    #expect(driver.open() == .open)
  }

  @Test func namesARefusedConnection() throws {
    let port = Listener().port
    let driver = try LinkDriver(host: "127.0.0.1", port: port)
    #expect(driver.open() == .failed(.connectionRefused))
    #expect(driver.description == " address=127.0.0.1:\(port) errno=111")
  }

  @Test func namesAnUnreachableAddress() throws {
    // A broadcast address takes no TCP connections (EACCES or ENETUNREACH).
    let driver = try LinkDriver(host: "255.255.255.255", port: 1883)
    #expect(driver.open() == .failed(.unreachable))
    #expect(driver.description.hasPrefix(" address=255.255.255.255:1883 errno="))
  }

  @Test func givesUpOnAnAddressThatDoesNotAnswer() throws {
    // With a full backlog Linux drops connection requests.
    let listener = Listener(backlog: 0)
    let fillers = try (0..<4).map { _ in try LinkDriver(host: "127.0.0.1", port: listener.port) }
    for filler in fillers {
      filler.begin(deadline: filler.now + .seconds(60))
    }
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    let start = driver.now
    driver.begin(deadline: start + .seconds(60))
    driver.turn(milliseconds: 50)
    #expect(driver.poll() == .opening)
    // One address: all of the longest time for it.
    #expect(driver.deadline == start + .seconds(10))
    driver.skip(.seconds(10))
    #expect(driver.poll() == .failed(.connectTimeout))
  }

  @Test func endsTheAttemptAtItsDeadline() throws {
    let listener = Listener(backlog: 0)
    let fillers = try (0..<4).map { _ in try LinkDriver(host: "127.0.0.1", port: listener.port) }
    for filler in fillers {
      filler.begin(deadline: filler.now + .seconds(60))
    }
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    let deadline = driver.now + .milliseconds(300)
    driver.begin(deadline: deadline)
    #expect(driver.deadline == deadline)
    #expect(driver.finishOpening() == .failed(.connectTimeout))
  }

  @Test func triesAllAddresses() throws {
    // `localhost` may have ::1 first; the listener has 127.0.0.1 only.
    let listener = Listener()
    let driver = try LinkDriver(host: "localhost", port: listener.port)
    #expect(driver.open() == .open)
    #expect(driver.description == " address=127.0.0.1:\(listener.port)")
  }

  @Test func tellsThePeersEndBehindItsLastBytes() throws {
    let listener = Listener()
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    driver.open()
    let peer = listener.accept()
    peer.send(Array(text: "bye"))
    peer.end()
    let (bytes, end) = driver.receive(100)
    #expect(bytes.text == "bye")
    #expect(end == .closedByPeer)
  }

  @Test func tellsABrokenConnection() throws {
    let listener = Listener()
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    driver.open()
    let peer = listener.accept()
    peer.send([1])
    #expect(driver.receive(1).bytes == [1])
    peer.reset()
    #expect(driver.receive(1).end == .connectionLost)
    #expect(driver.description == " address=127.0.0.1:\(listener.port) errno=104")
  }

  @Test func sendingIntoABrokenConnectionIsNoSignal() throws {
    let listener = Listener()
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    driver.open()
    listener.accept().reset()
    driver.turn()
    let first = driver.link.send(pattern(10).span)
    let second = driver.link.send(pattern(10).span)
    #expect(first == .ended(.unanswered) || second == .ended(.unanswered))
  }

  @Test func waitsForRoomAndLosesNothing() throws {
    let listener = Listener()
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    driver.open()
    let peer = listener.accept()
    let bytes = pattern(8 << 20)
    var sent = 0
    while case .moved(let count) = driver.link.send(bytes.span.extracting(sent..<bytes.count)) { sent += count }
    #expect(sent < bytes.count)
    #expect(driver.send(bytes) == .wouldBlock)
    var received: [UInt8] = []
    while received.count < bytes.count {
      received += peer.receive(min(65536, sent - received.count))
      driver.turn(milliseconds: 10)
      if sent < bytes.count, case .moved(let count) = driver.link.send(bytes.span.extracting(sent..<bytes.count)) {
        sent += count
      }
    }
    #expect(received == bytes)
  }

  @Test func asksTheSystemOnlyWhenSomethingWasSignalled() throws {
    let listener = Listener()
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    driver.open()
    let peer = listener.accept()
    peer.send(Array(text: "x"))
    var buffer = makeBuffer()
    // It is there, but nobody has said so.
    #expect(driver.receive(into: &buffer) == .wouldBlock)
    driver.turn()
    #expect(driver.receive(into: &buffer) == .moved(1))
    // A short read means that nothing is left: no second call.
    peer.send(Array(text: "y"))
    #expect(driver.receive(into: &buffer) == .wouldBlock)
    driver.turn()
    #expect(driver.receive(into: &buffer) == .moved(1))
  }

  @Test func doesNotAskToBeWokenForWhatTheCallerKnows() throws {
    let listener = Listener()
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    driver.open()
    let peer = listener.accept()
    peer.send(Array(text: "x"))
    driver.turn()
    // Readable and not read yet, writable: the link waits for nothing.
    #expect(driver.waitsForCount == 0)
    #expect(driver.receive(1).bytes.text == "x")
    #expect(driver.waitsForCount == 1)
  }

  @Test func theEndDoesNotDestroyWhatWasSent() throws {
    let listener = Listener()
    let driver = try LinkDriver(host: "127.0.0.1", port: listener.port)
    driver.open()
    let peer = listener.accept()
    // Bytes that the agent never reads: closing over them would reset the connection and lose its own last bytes.
    peer.send(pattern(3000))
    driver.turn()
    #expect(driver.sendAll(Array(text: "disconnect")) == .moved(10))
    driver.link.close()
    #expect(peer.receive(10).text == "disconnect")
    #expect(peer.receive(1).isEmpty)
  }
}
