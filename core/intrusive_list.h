// Doubly linked list whose links live in the elements: no allocation, O(1) removal from wherever the element is.
//
// An element derives from ListNode<Tag> once per list it may be on at a time; the tag tells the lists apart. Lists do
// not own their elements. Not thread-safe.
#pragma once

#include <cstddef>

#include "core/check.h"

namespace txn {

template <class Tag>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool is_linked() const { return next_ != nullptr; }
  void unlink() {
    if (!is_linked()) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    next_ = previous_ = nullptr;
  }

 private:
  template <class, class>
  friend class IntrusiveList;
  ListNode* next_ = nullptr;
  ListNode* previous_ = nullptr;
};

template <class T, class Tag>
class IntrusiveList {
 public:
  using Node = ListNode<Tag>;
  IntrusiveList() { reset(); }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    while (!empty()) pop_front();
    head_.next_ = head_.previous_ = nullptr;
  }

  bool empty() const { return head_.next_ == &head_; }
  void push_back(T& element) {
    Node& node = element;
    CHECK(!node.is_linked(), "an element is on one list of a kind at a time");
    node.previous_ = head_.previous_;
    node.next_ = &head_;
    head_.previous_->next_ = &node;
    head_.previous_ = &node;
  }
  void push_front(T& element) {
    Node& node = element;
    CHECK(!node.is_linked(), "an element is on one list of a kind at a time");
    node.previous_ = &head_;
    node.next_ = head_.next_;
    head_.next_->previous_ = &node;
    head_.next_ = &node;
  }
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  const T* front() const { return empty() ? nullptr : static_cast<const T*>(head_.next_); }
  const T* back() const { return empty() ? nullptr : static_cast<const T*>(head_.previous_); }
  T* pop_front() {
    T* element = front();
    if (element != nullptr) static_cast<Node*>(element)->unlink();
    return element;
  }
  // The element after `element`, or nullptr at the end. `element` must be on this list.
  T* next(T& element) {
    Node* node = static_cast<Node&>(element).next_;
    return node == &head_ ? nullptr : static_cast<T*>(node);
  }
  // Moves all elements of `other` to the end of this list.
  void splice_back(IntrusiveList& other) {
    if (other.empty()) return;
    Node* first = other.head_.next_;
    Node* last = other.head_.previous_;
    first->previous_ = head_.previous_;
    head_.previous_->next_ = first;
    last->next_ = &head_;
    head_.previous_ = last;
    other.reset();
  }

 private:
  void reset() { head_.next_ = head_.previous_ = &head_; }
  Node head_;
};

}  // namespace txn
