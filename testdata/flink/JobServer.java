import org.apache.beam.runners.flink.FlinkJobServerDriver;

/** Beam's job server would send every jar of its class path along with every job (150 MB), and the cluster has them. */
public class JobServer {
  public static void main(String[] args) throws Exception {
    System.setProperty("java.class.path", "");
    FlinkJobServerDriver.main(args);
  }
}
