#include "core/blocking_thread.h"

namespace txn {

BlockingThread::BlockingThread() {
  thread_ = std::thread([this] { work_off(); });
}

void BlockingThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
}

void BlockingThread::join() {
  stop();
  if (thread_.joinable()) thread_.join();
}

void BlockingThread::enqueue(Job& job) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      (job.urgency == Urgency::kUrgent ? urgent_ : usual_).push_back(&job);
      wake_.notify_one();
      return;
    }
  }
  job.reply_to.post(job);  // the thread may have ended
}

void BlockingThread::work_off() {
  while (true) {
    Job* job = nullptr;
    bool stopping = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !urgent_.empty() || !usual_.empty(); });
      std::deque<Job*>& queue = urgent_.empty() ? usual_ : urgent_;
      if (queue.empty()) return;
      job = queue.front();
      queue.pop_front();
      stopping = stopping_;
    }
    if (!stopping) job->carry_out();
    // The job lives in a frame of the receiving worker; after this line it is no longer ours.
    job->reply_to.post(*job);
  }
}

}  // namespace txn
