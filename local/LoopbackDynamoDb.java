import java.net.InetSocketAddress;
import org.eclipse.jetty.server.Server;
import software.amazon.dynamodb.services.local.server.LocalDynamoDBRequestHandler;
import software.amazon.dynamodb.services.local.server.LocalDynamoDBServerHandler;

/**
 * DynamoDB Local in memory, on 127.0.0.1 only, without telemetry: {@code java -cp 'LIB/*' LoopbackDynamoDb.java PORT}.
 *
 * <p>Amazon's own ServerRunner has no option for the address and listens on every interface.
 */
public class LoopbackDynamoDb {
    public static void main(String[] arguments) throws Exception {
        boolean inMemory = true;
        boolean sharedDb = true; // one set of tables, whatever the credentials and the region of a client
        boolean delayTransientStatuses = false;
        var requests = new LocalDynamoDBRequestHandler(0, inMemory, null, sharedDb, delayTransientStatuses);
        var server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
        server.setHandler(new LocalDynamoDBServerHandler(requests, null)); // null: no other origin of a browser is let in
        server.start();
        server.join();
    }
}
