import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;

/** Sends a body by Java's default client: URL, key, content type, file, "length" or "chunks". */
class Edit {
    public static void main(String[] given) throws Exception {
        BodyPublisher body = BodyPublishers.ofByteArray(Files.readAllBytes(Path.of(given[3])));
        if (given[4].equals("chunks")) {
            body = BodyPublishers.fromPublisher(body);
        }
        var request = HttpRequest.newBuilder(URI.create(given[0]))
            .header("Authorization", "Bearer " + given[1])
            .header("Content-Type", given[2])
            .POST(body)
            .build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        System.out.println(answer.statusCode());
        System.out.println(answer.body());
    }
}
