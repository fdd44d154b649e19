/** A message port that keeps what was posted; for tests. */

export class FakePort<Message> {
  readonly posted: Message[] = [];
  closed = false;
  onmessage: ((event: { data: unknown }) => void) | null = null;

  postMessage(message: Message): void {
    this.posted.push(message);
  }

  close(): void {
    this.closed = true;
  }

  /** As the engine knows it. Of a port it uses only what is here. */
  get port(): MessagePort {
    return this as unknown as MessagePort;
  }
}
